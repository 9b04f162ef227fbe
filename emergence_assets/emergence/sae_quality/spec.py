"""The asset `sae_metrics`: quality of all SAEs of a model."""

from collections.abc import Sequence

from emergence_assets.emergence.table_spec import key_columns, table_rule
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.plan import Plan
from emergence_assets.plan.text_counts import TextCounts
from emergence_assets.saes.spec import METRICS_NAME, SAE
from emergence_assets.study.study import Study
from resources.compute.task import Task
from resources.files.provenance import Required
from resources.files.records import required_to_json

METRICS_TABLE_BYTES = 45_000
"""Of sae_metrics."""


def _metrics_bytes(_study: Study, _cell: Cell, _counts: TextCounts) -> float:
    return METRICS_TABLE_BYTES


SAE_METRICS = table_rule("sae_metrics", ("checkpoint", "sae"), ("sae_quality.worker:collect_metrics",), _metrics_bytes)


def metrics_tasks(plan: Plan, due: Sequence[tuple[Cell, Required]]) -> list[tuple[Task, Sequence[Cell]]]:
    """One task per model."""
    work = []
    for cell, required in due:
        sources = [
            {**key_columns(plan, SAE, source), "file": str(SAE.path(plan.storage, source) / METRICS_NAME)}
            for source in plan.cells(SAE, cell.model)
        ]
        sae = plan.study.sae
        d_model = plan.study.family.models[str(cell.model)].d_model
        design = {"n_latents": sae.n_latents, "k": sae.k, "arch": sae.variant, "d_model": d_model}
        arguments = {
            "sources": sources,
            "design": design,
            "path": str(SAE_METRICS.path(plan.storage, cell)),
            "required": required_to_json(required),
        }
        function, label = "emergence_assets.emergence.sae_quality.worker:collect_metrics", f"sae_metrics {cell}"
        work.append((Task(function, arguments, label, on_accelerator=False), [cell]))
    return work
