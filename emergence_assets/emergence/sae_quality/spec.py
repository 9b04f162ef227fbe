"""Asset `sae_metrics`: quality of all SAEs of a model."""

from collections.abc import Mapping
from typing import Any

from emergence_assets.emergence.sae_quality.table import SAE_METRICS as TABLE
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.table_spec import table_spec
from emergence_assets.study.study import Study
from resources.files.storage import Storage


def _recipe(study: Study, _storage: Storage, cell: Cell) -> Mapping[str, Any]:
    d_model = study.family.models[str(cell.model)].d_model
    return {"n_latents": study.sae.n_latents, "k": study.sae.k, "arch": study.sae.variant, "d_model": d_model}


SAE_METRICS = table_spec(
    TABLE, ("sae",), "emergence_assets.emergence.sae_quality.sae_metrics:sae_metrics", recipe=_recipe
)
