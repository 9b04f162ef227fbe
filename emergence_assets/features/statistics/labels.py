"""Category of each probe text, and its side of the split.

Shape suffix: p texts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from emergence_assets.features.statistics.formulas import bootstrap_weights
from resources.errors import EmergenceError


@dataclass(frozen=True)
class Labels:
    """Labels of all probe texts at one level; its statistics ignore texts without a label at this level."""

    level: str
    """Name of the level, for example "subject"."""
    categories: tuple[str, ...]
    """Names, in the order of the codes."""
    codes_p: NDArray[np.int16]
    """Index of each text's category, -1 = no label at this level."""
    is_select_p: NDArray[np.bool_]
    """True: latents are chosen on this text; False: they are scored on it."""
    unit_p: NDArray[np.int64] | None = None
    """Number of each text's unit, from 0; copies of a text share a unit. None: every text is a unit."""
    n_units: int | None = None
    """Units of the whole probe set, of which a tokenizer may leave out some; None: the units of these texts are all."""

    def __post_init__(self) -> None:
        """Refuse labels whose arrays do not belong together."""
        if self.codes_p.shape != self.is_select_p.shape or self.codes_p.ndim != 1:
            raise EmergenceError(
                f"{self.codes_p.shape} labels for {self.is_select_p.shape} texts", where=f"level {self.level}"
            )
        if len(set(self.categories)) != len(self.categories):
            raise EmergenceError("a category is named twice", where=f"level {self.level}")
        if self.codes_p.size and not -1 <= self.codes_p.min() <= self.codes_p.max() < len(self.categories):
            raise EmergenceError(
                f"labels point outside the {len(self.categories)} categories", where=f"level {self.level}"
            )

    @classmethod
    def from_values(
        cls,
        level: str,
        values: Sequence[str | None],
        is_select: Sequence[bool] | NDArray[np.bool_],
        unit_p: NDArray[np.int64] | None = None,
        n_units: int | None = None,
    ) -> "Labels":
        """Make labels from one name (or None) per text; categories are sorted by name."""
        categories = tuple(sorted({value for value in values if value is not None}))
        code = {name: i for i, name in enumerate(categories)} | {None: -1}
        codes = np.array([code[value] for value in values], dtype=np.int16)
        return cls(level, categories, codes, np.asarray(is_select, dtype=bool), unit_p, n_units)

    def rows(self, *, select: bool) -> NDArray[np.intp]:
        """Return the texts of one side of the split that have a label at this level."""
        return np.flatnonzero((self.codes_p >= 0) & (self.is_select_p == select))

    def counts(self, *, select: bool) -> NDArray[np.int64]:
        """Count the texts of every category on one side of the split."""
        return np.bincount(self.codes_p[self.rows(select=select)], minlength=len(self.categories))

    def is_usable(self, min_texts_per_split: int) -> NDArray[np.bool_]:
        """Return whether each category has enough texts, and enough other texts, on both sides of the split."""
        usable = np.ones(len(self.categories), dtype=bool)
        for select in (True, False):
            counts = self.counts(select=select)
            usable &= (counts >= min_texts_per_split) & (counts.sum() - counts >= min_texts_per_split)
        return usable


def shuffled_labels(
    labels: Labels, n_shuffles: int, seed: int, stratum_p: NDArray[np.integer] | None = None
) -> list[Labels]:
    """Permute labels: the control `label_shuffle`.

    Labels are permuted among the texts that have a label at this level, separately on each side of the split. Every
    category keeps its number of texts on both sides, so a shuffled score is as precise as the real score. The
    permutations depend on the seed and the number of texts only, so they are the same in every cell.

    With strata, such as texts of similar length (`length_strata`), labels also stay within their stratum: the remaining
    score is the effect of the strata alone.
    """
    copies = []
    for i in range(n_shuffles):
        codes = labels.codes_p.copy()
        for select in (True, False):
            rows = labels.rows(select=select)
            rng = np.random.default_rng([seed, i, int(select)])
            if stratum_p is None:
                codes[rows] = codes[rng.permutation(rows)]
                continue
            for stratum in np.unique(stratum_p[rows]):
                within = rows[stratum_p[rows] == stratum]
                codes[within] = codes[rng.permutation(within)]
        copies.append(replace(labels, codes_p=codes))
    return copies


def text_weights(level: Labels, n_boot: int, seed: int) -> NDArray[np.float32]:
    """Draw bootstrap weights of all texts, texts × replicates; see `formulas.bootstrap_weights`.

    Copies of a text are drawn together, because they are not independent. Units are drawn from the whole probe set, so
    that models of which some cannot read all texts have equal weights on the texts that both read.
    """
    if level.unit_p is None:
        return bootstrap_weights(len(level.codes_p), n_boot, seed)
    n_units = int(level.unit_p.max()) + 1 if level.n_units is None else level.n_units
    return bootstrap_weights(n_units, n_boot, seed)[level.unit_p]


def length_strata(length_p: NDArray[np.integer], n_strata: int = 20) -> NDArray[np.int64]:
    """Assign texts to strata by length, of about equal size; texts of equal length share a stratum."""
    bounds = np.quantile(length_p, np.linspace(0, 1, n_strata + 1)[1:-1])
    return np.searchsorted(np.unique(bounds), length_p, side="right").astype(np.int64)
