"""The asset `reactivation_mechanism`: one forward pass of a model's last checkpoint over its probe texts."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from emergence_assets.emergence.last_checkpoint import last_checkpoint_arguments
from emergence_assets.emergence.mechanism.table import REACTIVATION_MECHANISM as TABLE
from emergence_assets.emergence.table_spec import table_spec
from emergence_assets.plan.cell import Cell
from emergence_assets.study.study import Study
from emergence_assets.texts.study_texts import probe_recipe
from resources.files.storage import Storage
from resources.tables.relation import Relation


def _recipe(study: Study, _storage: Storage, _cell: Cell) -> Mapping[str, Any]:
    return {
        "mechanism": study.mechanism.model_dump(),
        "probe_set": probe_recipe(study),
        "seeds": list(study.sae.seeds),
        "n_bootstrap": study.statistics.n_bootstrap,
        "seed": study.statistics.seed,
    }


REACTIVATION_MECHANISM = table_spec(
    TABLE,
    ("checkpoint", "activations", "sae", "latent_stats"),
    "emergence_assets.emergence.mechanism.worker:measure_model",
    recipe=_recipe,
    arguments=last_checkpoint_arguments,
    relations=(
        Relation(
            "shares_add_up",
            "Carried, attention and MLP are the whole of the contrast.",
            pl.sum_horizontal("share_carried", "share_attn", "share_mlp", ignore_nulls=False)
            .is_between(0.999, 1.001)
            .fill_null(True),
        ),
    ),
    on_accelerator=True,
)
