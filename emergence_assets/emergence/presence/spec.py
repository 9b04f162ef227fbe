"""Asset `category_presence`: AUROC of the best latent of every category, in every layer of every checkpoint."""

from emergence_assets.emergence.presence.table import CATEGORY_PRESENCE as TABLE
from emergence_assets.emergence.relations import PRESENCE_RELATIONS
from emergence_assets.features.spec import presence_bytes, sections
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.table_spec import table_spec
from emergence_assets.plan.text_counts import TextCounts
from emergence_assets.study.study import Study


def _n_bytes(study: Study, cell: Cell, counts: TextCounts) -> float:
    """Estimate bytes: latents, permuted labels, random encoders and the dense probe in all layers of all steps."""
    n_cells = len(study.listed_steps or ()) * len(study.layers_of(str(cell.model)))
    return presence_bytes(study, counts, 4 * n_cells)


CATEGORY_PRESENCE = table_spec(
    TABLE,
    ("latent_stats",),
    "emergence_assets.emergence.presence.worker:collect_presence",
    recipe=sections("probe_set", "statistics"),
    relations=PRESENCE_RELATIONS,
    n_bytes=_n_bytes,
)
