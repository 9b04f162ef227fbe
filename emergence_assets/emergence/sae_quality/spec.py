"""The asset `sae_metrics`: quality of all SAEs of a model."""

from typing import Any

from emergence_assets.emergence.sae_quality.table import SAE_METRICS as TABLE
from emergence_assets.emergence.table_spec import key_columns, table_spec
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.plan import Plan
from emergence_assets.saes.spec import METRICS_NAME, SAE
from resources.files.provenance import Required


def _arguments(plan: Plan, cell: Cell, _required: Required) -> dict[str, Any]:
    sae = plan.study.sae
    return {
        "sources": [
            {**key_columns(plan, SAE, source), "file": str(SAE.path(plan.storage, source) / METRICS_NAME)}
            for source in plan.cells(SAE, cell.model)
        ],
        "design": {
            "n_latents": sae.n_latents,
            "k": sae.k,
            "arch": sae.variant,
            "d_model": plan.study.family.models[str(cell.model)].d_model,
        },
    }


SAE_METRICS = table_spec(
    TABLE,
    ("checkpoint", "sae"),
    "emergence_assets.emergence.sae_quality.worker:collect_metrics",
    arguments=_arguments,
)
