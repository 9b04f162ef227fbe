"""Assets of the size axis: presence with scaled dictionaries, training runs of one model, presence over sizes."""

from collections.abc import Mapping
from typing import Any

from emergence_assets.emergence.origins import origins
from emergence_assets.emergence.relations import PRESENCE_RELATIONS, beside_every_row
from emergence_assets.emergence.scale.table import EMERGENCE_OVER_SCALE as SCALE_TABLE
from emergence_assets.emergence.scale.table import EXPANSION_PRESENCE as EXPANSION_TABLE
from emergence_assets.emergence.scale.table import MODEL_SEEDS as SEEDS_TABLE
from emergence_assets.features.spec import presence_bytes, sections
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.table_spec import table_spec
from emergence_assets.plan.text_counts import TextCounts
from emergence_assets.study.study import Study
from resources.files.storage import Storage


def expanded_latents(study: Study, model: str) -> int:
    """Return a model's dictionary size at the expansion that gives the widest model the study's n_latents."""
    widest = max(study.family.models[name].d_model for name in study.models)
    return max(study.sae.k, round(study.sae.n_latents * study.family.models[model].d_model / widest))


def _expansion_recipe(study: Study, storage: Storage, cell: Cell) -> Mapping[str, Any]:
    n_latents = expanded_latents(study, str(cell.model))
    recipe = dict(sections("sae", "statistics", "probe_set")(study, storage, cell))
    prefixes = [prefix for prefix in study.sae.prefixes if prefix < n_latents]
    recipe["sae"] |= {"n_latents": n_latents, "prefixes": prefixes}
    return recipe | {"is_trained": n_latents != study.sae.n_latents}


def _expansion_bytes(study: Study, cell: Cell, counts: TextCounts) -> float:
    """Estimate bytes: the latents, permuted labels and the dense probe in all layers, at first and last step."""
    n_steps = min(2, len(study.listed_steps or ()))
    return presence_bytes(study, counts, 3 * n_steps * len(study.layers_of(str(cell.model))))


EXPANSION_PRESENCE = table_spec(
    EXPANSION_TABLE,
    ("checkpoint", "activations", "sae", "latent_stats", "category_presence"),
    "emergence_assets.emergence.scale.expansion_worker:measure_expansion",
    recipe=_expansion_recipe,
    arguments=origins,
    relations=PRESENCE_RELATIONS,
    on_accelerator=True,
    wanted=lambda study: study.fixed_expansion,
    n_bytes=_expansion_bytes,
)
MODEL_SEEDS = table_spec(
    SEEDS_TABLE,
    ("category_presence", "emergence_over_time"),
    "emergence_assets.emergence.scale.model_seeds:model_seeds",
    grid="study",
    recipe=lambda study, *_: {"replicates": study.family.replicates},
    wanted=lambda study: bool(study.family.replicates),
)
EMERGENCE_OVER_SCALE = table_spec(
    SCALE_TABLE,
    ("sae_metrics", "category_presence", "feature_counts", "expansion_presence", "model_seeds"),
    "emergence_assets.emergence.scale.worker:compare_sizes",
    grid="study",
    recipe=lambda study, *_: {"sizes": study.sizes, "rule_id": study.statistics.rule_id},
    relations=(beside_every_row("sae_design", "condition", "aggregate", "category_level", "category"),),
)
