"""Selection of cells by model, step and layer."""

from collections.abc import Sequence
from dataclasses import dataclass

from emergence_assets.plan.cell import Cell
from emergence_assets.study.study import Study
from resources.errors import require_known


@dataclass(frozen=True)
class Selection:
    """Cells that a command applies to; an empty list selects all."""

    models: Sequence[str] = ()
    steps: Sequence[int] = ()
    layers: Sequence[int] = ()

    @property
    def is_everything(self) -> bool:
        """Whether all cells are selected."""
        return not (self.models or self.steps or self.layers)

    def of(self, cells: Sequence[Cell]) -> list[Cell]:
        """Return the selected cells."""
        return [
            cell
            for cell in cells
            if (not self.models or cell.model in self.models)
            and (not self.steps or cell.step in self.steps)
            and (not self.layers or cell.layer in self.layers)
        ]


def parse_selection(
    study: Study, models: Sequence[str], steps: Sequence[int] = (), layers: Sequence[int] = ()
) -> Selection:
    """Check typed models and layers against the study.

    Raises:
        EmergenceError: the study has no such model or layer.
    """
    require_known("model", models, study.models)
    require_known(
        "layer", layers, sorted({layer for model in models or study.models for layer in study.layers_of(model)})
    )
    return Selection(models, steps, layers)
