"""Model families with known answers: read-outs and training rows with planted categories.

A row is a sum of directions: strong ones that are independent of the text's category, one for each category that the
row carries, and noise. A text of category c carries the direction of c with probability tpr, any other text with
probability fpr; the amount has the same distribution for both. So a latent that fires on the direction alone has an
AUROC of 0.5 + (tpr - fpr) / 2, and a rate that follows a sigmoid of log10(step + 1) makes an AUROC that follows the
same sigmoid: start, half and end of the rise are where they were planted.

Shape suffixes: p texts, t training rows, d d_model, c categories, l layers, s steps, a strong directions.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtri

from emergence_assets.features.statistics.labels import Labels

Floats = NDArray[np.float64]
Rows = NDArray[np.float32]
ONSET_LOGIT = 2.197
"""Widths from 10 % of a logistic rise to its middle: ln 9."""
LEVEL = "planted"


def even(depth_l: Floats) -> Floats:
    """The whole rise in every layer."""
    return np.ones_like(depth_l)


def rising(depth_l: Floats) -> Floats:
    """From no rise at the first layer to the whole rise at the last."""
    return depth_l


def mode(depth_l: Floats) -> Floats:
    """The largest rise in the middle layers."""
    return np.asarray(np.exp(-(((depth_l - 0.5) / 0.2) ** 2)), dtype=np.float64)


def dip(depth_l: Floats) -> Floats:
    """A seventh of the rise in the middle third of the depth, the whole rise at the ends."""
    return np.where((depth_l > 1 / 3) & (depth_l < 2 / 3), 1 / 7, 1.0)


def all_sizes(_place: float) -> float:
    """The whole rise in every size."""
    return 1.0


def from_a_size_on(place: float) -> float:
    """Rise in the larger half of the sizes only; 90 % of it lies within a tenth of the range."""
    return float(expit((place - 0.5) / 0.02))


def with_size(place: float) -> float:
    """Rise in proportion to the logarithm of the size."""
    return place


@dataclass(frozen=True)
class Category:
    """Planted rise of one category, in units of AUROC."""

    rise: float = 0.0
    """Rise from step 0 to the end of training, in the strongest layer of the largest size."""
    middle: float = 1.5
    """log10(step + 1) of half the rise."""
    width: float = 0.2
    """Logistic width in decades."""
    base: float = 0.0
    """AUROC above chance at all steps, in all layers and sizes, as from words alone."""
    fpr: float = 0.05
    """Probability that a text of another category carries the direction."""
    over_depth: Callable[[Floats], Floats] = even
    """Share of the rise at a relative depth of 0 to 1."""
    over_sizes: Callable[[float], float] = all_sizes
    """Share of the rise from the smallest (0) to the largest (1) size, by the logarithm."""
    is_spread: bool = False
    """Layers in which latents lose the category keep all of it for a linear probe: its texts have a small shift along a
    direction that no training row has."""


CATEGORIES: Mapping[str, Category] = {
    "rise .15, half at 31": Category(0.15, np.log10(32), 0.2),
    "rise .15, half at 60": Category(0.15, np.log10(61), 0.1),
    "rise .2, half at 31, slow": Category(0.2, np.log10(32), 0.4),
    "rise .3, half at 9": Category(0.3, 1.0, 0.2),
    "rise .25, later layers more": Category(0.25, np.log10(61), 0.2, over_depth=rising),
    "rise .25, middle layers more": Category(0.25, np.log10(32), 0.2, over_depth=mode),
    "fades and returns": Category(0.35, np.log10(32), 0.2, over_depth=dip),
    "fades and returns in SAEs": Category(0.35, np.log10(32), 0.2, over_depth=dip, is_spread=True),
    "larger half of the sizes": Category(0.3, np.log10(32), 0.2, over_sizes=from_a_size_on),
    "with the size": Category(0.3, np.log10(32), 0.2, over_sizes=with_size),
    "never, 1": Category(),
    "never, 2": Category(),
    "words alone": Category(base=0.2),
    "template": Category(base=0.485, fpr=0.005),
}
"""Flat, lexical and template categories never rise. Four rise evenly over layers and sizes."""


@dataclass(frozen=True)
class Run:
    """One training run of one size."""

    name: str
    n_params: int
    n_layers: int
    steps: tuple[int, ...]
    layers: tuple[int, ...]
    """Layers that are measured."""


@dataclass(frozen=True)
class Family:
    """A family of planted models and their texts."""

    runs: tuple[Run, ...]
    """Ascending by size."""
    categories: Mapping[str, Category] = field(default_factory=lambda: CATEGORIES)
    texts_per_category: int = 400
    d_model: int = 24
    n_strong: int = 6
    """Number of directions that are independent of the category."""
    noise: float = 0.1
    """Standard deviation of a coordinate; a carried direction has an amount of 1 to 2."""
    faithful: float = 0.5
    """Correlation between cells of the propensity of a text to carry a direction: the texts that show a category at one
    step tend to show it at the next."""
    run_spread: float = 0.0
    """Relative standard deviation of a category's rise between training runs."""
    collapse: float = 0.0
    """Standard deviation, after training, of all rows along one further direction, which says nothing of the category.
    It grows with log10(step + 1), as the read-outs of trained networks come to vary along few directions."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse more directions than dimensions."""
        n_spread = sum(category.is_spread for category in self.categories.values())
        if self.d_model < len(self.categories) + self.n_strong + n_spread + (self.collapse > 0):
            raise ValueError("planted directions are no dictionary: there are more of them than dimensions")

    @property
    def labels(self) -> Labels:
        """Category of every text; every other text is on split select."""
        names = tuple(self.categories)
        code_p = np.repeat(np.arange(len(names), dtype=np.int16), self.texts_per_category)
        return Labels(LEVEL, names, code_p, np.arange(len(code_p)) % 2 == 0)

    def place(self, run: Run) -> float:
        """Position of a size between the smallest (0) and the largest (1) on the log scale; 1 for a single size."""
        smallest, largest = (np.log10(self.runs[i].n_params) for i in (0, -1))
        return float((np.log10(run.n_params) - smallest) / (largest - smallest)) if largest > smallest else 1.0

    def presence_cl(self, run: Run, step: int) -> Floats:
        """True AUROC of a latent on each category's direction, categories × layers."""
        depth_l = (np.arange(run.n_layers) + 0.5) / run.n_layers
        return 0.5 + np.stack(
            [
                category.base + spread * self._risen(category, run, step) * category.over_depth(depth_l)
                for category, spread in zip(self.categories.values(), self._run_factors(run), strict=True)
            ]
        )

    def leading(self, run: Run, step: int) -> float:
        """Standard deviation of the rows along the further direction at a step."""
        return self.collapse * float(np.log10(step + 1) / np.log10(run.steps[-1] + 1))

    def _risen(self, category: Category, run: Run, step: int) -> float:
        trained = expit((np.log10(step + 1) - category.middle) / category.width)
        return float(category.rise * category.over_sizes(self.place(run)) * trained)

    def _run_factors(self, run: Run) -> Floats:
        rng = np.random.default_rng([self.seed, self.runs.index(run), 0])
        return np.maximum(1 + self.run_spread * rng.normal(size=len(self.categories)), 0)


@dataclass(frozen=True)
class Cell:
    """Rows of one layer of one checkpoint."""

    read_out_pd: Rows
    """Read-outs of the probe texts."""
    training_td: Rows
    """Training rows of SAEs: every direction has the same rate at all steps."""


def planted_directions(family: Family, run: Run, layer: int) -> tuple[Rows, Rows, Rows]:
    """Orthonormal directions of a layer, the same at all steps.

    Returns:
        Directions of the categories, then the strong ones; one further direction of each spread category (zeros for
        the others), categories × d; and the direction along which all rows come to vary.
    """
    rng = np.random.default_rng([family.seed, family.runs.index(run), layer, 1])
    hidden = [i for i, category in enumerate(family.categories.values()) if category.is_spread]
    n_directions = len(family.categories) + family.n_strong
    orthonormal_dx, _ = np.linalg.qr(rng.normal(size=(family.d_model, family.d_model)))
    hidden_cd = np.zeros((len(family.categories), family.d_model), dtype=np.float32)
    hidden_cd[hidden] = orthonormal_dx.T[n_directions : n_directions + len(hidden)]
    return orthonormal_dx.T[:n_directions].astype(np.float32), hidden_cd, orthonormal_dx.T[-1].astype(np.float32)


def draw_cell(family: Family, run: Run, step: int, layer: int, n_training: int) -> Cell:
    """Draw the rows of a cell; equal arguments draw equal rows.

    Args:
        family: planted family.
        run: run of the family.
        step: training step.
        layer: layer of the rows.
        n_training: number of training rows.
    """
    directions_xd, hidden_cd, leading_d = planted_directions(family, run, layer)
    rng = np.random.default_rng([family.seed, family.runs.index(run), layer, 2, step])
    rate_pc = _rates(family, run, step, layer)
    own = np.random.default_rng([family.seed, 3]).standard_normal(rate_pc.shape, dtype=np.float32)
    drawn = rng.standard_normal(rate_pc.shape, dtype=np.float32)
    propensity_pc = np.sqrt(family.faithful) * own + np.sqrt(1 - family.faithful) * drawn
    read_out = _rows(propensity_pc < ndtri(rate_pc), directions_xd, family, rng)
    read_out += _hidden(family, run, step, layer) @ hidden_cd
    carried_tc = rng.random((n_training, len(family.categories)), dtype=np.float32) < _TRAINING_RATE
    training = _rows(carried_tc, directions_xd, family, rng)
    for rows in (read_out, training) if family.collapse else ():
        rows += (
            np.float32(family.leading(run, step)) * rng.standard_normal((len(rows), 1), dtype=np.float32) * leading_d
        )
    return Cell(read_out, training)


_TRAINING_RATE = 0.06
"""Rate of a category's direction in training rows."""
_STRONG_RATE, _STRONG = 0.15, 2.5
"""Rate and smallest amount of a strong direction."""


def _rates(family: Family, run: Run, step: int, layer: int) -> Floats:
    """Probability that each text carries each category's direction, texts × categories."""
    fpr_c = np.array([category.fpr for category in family.categories.values()])
    tpr_c = fpr_c + 2 * (family.presence_cl(run, step)[:, layer] - 0.5)
    is_own_pc = family.labels.codes_p[:, None] == np.arange(len(tpr_c))
    return np.where(is_own_pc, np.minimum(tpr_c, 1 - 1e-6), fpr_c)


def _hidden(family: Family, run: Run, step: int, layer: int) -> Rows:
    """Amount of each spread category's further direction, which only a probe detects, texts × categories.

    In layers where latents lose a spread category, a probe separates it as well as a latent does in the best layer: a
    shift by s standard deviations of the noise has an AUROC of Phi(s / sqrt 2).
    """
    whole_cl = family.presence_cl(run, step)
    highest_c = whole_cl.max(axis=1)
    is_lacking_c = [category.is_spread for category in family.categories.values()] & (whole_cl[:, layer] < highest_c)
    shift_c = np.where(is_lacking_c, family.noise * np.sqrt(2) * ndtri(highest_c), 0)
    return ((family.labels.codes_p[:, None] == np.arange(len(shift_c))) * shift_c).astype(np.float32)


def _rows(carried_xc: NDArray[np.bool_], directions_xd: Rows, family: Family, rng: np.random.Generator) -> Rows:
    n_rows = len(carried_xc)
    amounts_xc = carried_xc * (1 + rng.random(carried_xc.shape, dtype=np.float32))
    strong_xa = rng.random((n_rows, family.n_strong), dtype=np.float32) < _STRONG_RATE
    amounts_xa = strong_xa * (_STRONG + rng.random(strong_xa.shape, dtype=np.float32))
    noise_xd = family.noise * rng.standard_normal((n_rows, family.d_model), dtype=np.float32)
    return np.asarray(np.hstack([amounts_xc, amounts_xa]) @ directions_xd + noise_xd, dtype=np.float32)
