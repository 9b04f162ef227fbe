"""Frame for the checks of activation files: one row per file, with values of its token file and neighbours."""

import math
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from emergence_assets.plan.asset_spec import stored_provenance
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.plan import Plan
from emergence_assets.plan.summaries import summaries

FIRST_ROWS = 256
"""Number of first rows compared with each other; a stuck hook or buffer repeats rows from the start."""


def activation_frame(plan: Plan, cells: Sequence[Cell]) -> pl.DataFrame:
    """Return the summaries of activation files with the values to compare them with.

    The added columns are `expected_n_rows`, `expected_n_probes` and `expected_tokens` of the token file;
    `repeated_share`, the share of the first rows that repeat an earlier row; `step_jump` and `layer_jump`, see `jump`.
    """
    frame = summaries(plan.specs["activations"], plan, cells)
    norms, steps = _Norms(plan), {model: plan.steps_of(model) for model in plan.study.models}
    rows = []
    for cell, tokens_name in zip(cells, frame["tokens_file"], strict=True):
        path, norm = plan.specs["activations"].path(plan.storage, cell), norms.of(cell)
        rows.append(
            {
                "cell": str(cell),
                **_expected(plan.storage.tokens_file(Path(tokens_name).stem), path),
                "repeated_share": _repeated_share(path),
                "step_jump": jump(norm, *norms.beside(cell, "step", steps[str(cell.model)])),
                "layer_jump": jump(norm, *norms.beside(cell, "layer", plan.study.layers_of(str(cell.model)))),
            }
        )
    return frame.join(pl.DataFrame(rows, infer_schema_length=None), on="cell", how="left", maintain_order="left")


def jump(norm: float | None, before: float | None, after: float | None) -> float:
    """Return the distance of a norm from the nearer neighbour in log10 units; 0 between both, or if one is unknown.

    Norms grow a hundredfold over training and from layer to layer: a trend is normal, a spike is a fault.
    """
    if not norm or not before or not after:
        return 0.0
    off = [math.log10(norm / other) for other in (before, after)]
    return min(abs(value) for value in off) if off[0] * off[1] > 0 else 0.0


class _Norms:
    """Norms of the existing files of a study."""

    def __init__(self, plan: Plan):
        self._plan = plan

    def of(self, cell: Cell) -> float | None:
        """Return the root mean square norm of a file's rows; None if there is no file or the norm is not finite."""
        spec = self._plan.specs["activations"]
        stored = stored_provenance(spec, spec.path(self._plan.storage, cell))
        norm = stored.summary["norm_rms"] if stored else None
        return norm if norm and math.isfinite(norm) else None

    def beside(self, cell: Cell, field: str, line: Sequence[int]) -> list[float | None]:
        """Return the norms before and after a cell on a line of steps or layers; None where there is no norm."""
        own = getattr(cell, field)
        place = line.index(own) if own in line else len(line)
        around = (line[place - 1 : place] if place < len(line) else [], line[place + 1 : place + 2])
        return [self.of(cell._replace(**{field: other[0]})) if other else None for other in around]


def _expected(file: Path, activation_file: Path) -> dict[str, int | str | None]:
    """Read shapes and fingerprint of the shared token file; None without the file.

    A streamed file has statistics of the first texts alone.
    """
    from emergence_assets.activations.files.layout import STATISTICS_ROWS
    from emergence_assets.activations.files.reading import read_spec
    from emergence_assets.texts.tokens import known_tokens

    if not file.is_file():
        return {"expected_n_rows": None, "expected_n_probes": None, "expected_tokens": None}
    tokens = known_tokens(file)
    n_rows = tokens.n_rows
    if read_spec(activation_file).storage_state == "sampled":
        n_rows = int(tokens.training_rows.text_offsets[tokens.n_texts_of(STATISTICS_ROWS)])
    return {
        "expected_n_rows": n_rows,
        "expected_n_probes": tokens.n_probes,
        "expected_tokens": tokens.fingerprint,
    }


def _repeated_share(path: Path) -> float:
    """Return the share of repeated rows among the first training rows or among the first read-outs, the larger one."""
    from emergence_assets.activations.files.reading import first_rows

    return max(1 - len({row.tobytes() for row in rows_td}) / len(rows_td) for rows_td in first_rows(path, FIRST_ROWS))
