"""The asset `category_presence`: AUROC of the best latent of every category, in every cell of a model."""

from collections.abc import Mapping
from typing import Any

from emergence_assets.activations.spec import stored_tokens_file
from emergence_assets.emergence.presence.table import CATEGORY_PRESENCE as TABLE
from emergence_assets.emergence.relations import PRESENCE_RELATIONS
from emergence_assets.emergence.table_spec import key_columns, table_spec
from emergence_assets.features.spec import LATENT_STATISTICS, presence_bytes, presence_cells_path
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.plan import Plan
from emergence_assets.plan.text_counts import TextCounts
from emergence_assets.study.study import Study
from emergence_assets.texts.study_texts import probe_recipe
from resources.files.provenance import Required, canonical_json
from resources.files.storage import Storage


def _recipe(study: Study, _storage: Storage, _cell: Cell) -> Mapping[str, Any]:
    return {"probe_set": probe_recipe(study), "n_shuffles": study.statistics.n_shuffles}


def _n_bytes(study: Study, cell: Cell, counts: TextCounts) -> float:
    """A cell's share is as large as its presence table of one seed, and a value per seed more; all steps and layers."""
    n_cells = len(study.listed_steps or ()) * len(study.layers_of(str(cell.model)))
    return n_cells * presence_bytes(
        len(counts.category_sizes), study.statistics.n_bootstrap + len(study.sae.seeds), n_seeds=1
    )


def _arguments(plan: Plan, cell: Cell, _required: Required) -> dict[str, Any]:
    cells = plan.cells(LATENT_STATISTICS, cell.model)
    return {
        "sources": [
            {
                **key_columns(plan, LATENT_STATISTICS, source),
                "file": str(presence_cells_path(plan.storage, source)),
            }
            for source in cells
        ],
        "probes": canonical_json(plan.study.probe_set.model_dump()),
        "tokens_file": str(stored_tokens_file(plan, cells[0])),
        "n_shuffles": plan.study.statistics.n_shuffles,
        "seed": plan.study.statistics.seed,
    }


CATEGORY_PRESENCE = table_spec(
    TABLE,
    ("checkpoint", "activations", "latent_stats"),
    "emergence_assets.emergence.presence.worker:collect_presence",
    recipe=_recipe,
    arguments=_arguments,
    relations=PRESENCE_RELATIONS,
    n_bytes=_n_bytes,
)
