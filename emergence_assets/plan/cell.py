"""Cells, each of them one partition of one asset."""

from typing import Literal, NamedTuple

Grid = Literal["study", "model", "step", "cell"]
"""Extent of one partition: the whole study, one model, one checkpoint, or one layer of a checkpoint."""


class Cell(NamedTuple):
    """One partition of one asset; None in the fields that the asset does not have."""

    model: str | None = None
    step: int | None = None
    layer: int | None = None

    @property
    def at_step(self) -> tuple[str, int]:
        """Model and step, for paths; the cell must have both."""
        return str(self.model), int(self.step or 0)

    @property
    def at_layer(self) -> tuple[str, int, int]:
        """Model, step and layer, for paths; the cell must have all three."""
        return (*self.at_step, int(self.layer or 0))

    def agrees(self, other: "Cell") -> bool:
        """Return whether model, step and layer are equal where both cells have them."""
        return all(one is None or two is None or one == two for one, two in zip(self, other, strict=True))

    def __str__(self) -> str:
        parts = [self.model or "all models"]
        if self.step is not None:
            parts.append(step_key(self.step))
        if self.layer is not None:
            parts.append(layer_key(self.layer))
        return "/".join(parts)


def step_key(step: int) -> str:
    """Return the key of a step, such as `step000512`; zero-padded, so that keys sort like steps."""
    return f"step{step:06d}"


def layer_key(layer: int) -> str:
    """Return the key of a layer, such as `L03`, or `embed` for the embedding output (-1)."""
    return "embed" if layer < 0 else f"L{layer:02d}"


def cell_of(model: str | None, key: str | None) -> Cell:
    """Return the cell of a partition key such as `L03|step000512`; without a key, the cell of a model or the study.

    Raises:
        ValueError: the text is not a partition key.
    """
    layer, _, step = (key or "").rpartition("|")
    cell = parse_cell("/".join(part for part in (model or "all models", step, layer) if part))
    if cell is None:
        raise ValueError(f"{key!r} is no partition of a cell")
    return cell


def parse_cell(text: str) -> Cell | None:
    """Parse the text of `str(cell)`, also for a cell that no plan has; None for any other text."""
    if text == "all models":
        return Cell()
    model, *rest = text.split("/")
    step = layer = None
    for part in rest:
        if part.startswith("step") and part[4:].isdigit():
            step = int(part[4:])
        elif part == "embed":
            layer = -1
        elif part.startswith("L") and part[1:].isdigit():
            layer = int(part[1:])
        else:
            return None
    return Cell(model, step, layer)
