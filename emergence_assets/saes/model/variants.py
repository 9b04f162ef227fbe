"""Which pre-activations of a token become activations: the variants of an SAE, as settings.

Shape suffixes elsewhere in this folder: g members of a stack, t tokens, d d_model, n latents, k active latents.
"""

from dataclasses import dataclass

from resources.errors import EmergenceError


@dataclass(frozen=True)
class TopK:
    """The k largest pre-activations of a token, those below zero as zero (Gao et al. 2024, arXiv 2406.04093).

    Raises:
        EmergenceError: k below 1, or prefixes that do not ascend.
    """

    k: int
    """Latents that a token may use."""
    prefixes: tuple[int, ...] = ()
    """Matryoshka (Bussmann et al. 2025, arXiv 2503.17547): the first so many latents have to reconstruct alone, for
    each number here, as all of them have to; the loss is the mean. Ascending; the whole dictionary is not named."""

    def __post_init__(self):
        _check_k(self.k, "k")
        _check_prefixes(self.prefixes)


@dataclass(frozen=True)
class BatchTopK:
    """The k x batch largest positive pre-activations of a batch (Bussmann et al. 2024, arXiv 2412.06410).

    A token takes as many as it needs, k on average. Outside training, where a token must not depend on its batch, a
    pre-activation counts that is above a threshold: the mean, over the last tenth of the steps, of the smallest that
    was taken.

    Raises:
        EmergenceError: k below 1, or prefixes that do not ascend.
    """

    k: int
    """Latents per token, on average over a batch."""
    prefixes: tuple[int, ...] = ()
    """As in `TopK`."""

    def __post_init__(self):
        _check_k(self.k, "k")
        _check_prefixes(self.prefixes)


@dataclass(frozen=True)
class JumpReLU:
    """Pre-activations above a threshold that each latent learns (Rajamanoharan et al. 2024, arXiv 2407.14435).

    The gradient of the threshold is their straight-through estimate with a rectangle kernel. What is aimed at is a
    number of active latents, so that variants are compared at equal sparsity: the penalty is quadratic in L0 / k - 1.

    Raises:
        EmergenceError: a value out of its range.
    """

    k: int
    """Latents per token that are aimed at, on average."""
    bandwidth: float = 0.05
    """Width of the kernel, in units of the scaled input."""
    penalty: float = 0.1
    """Of (L0 / k - 1)², as a share of half the input's variance per token."""

    def __post_init__(self):
        _check_k(self.k, "k")
        for name in ("bandwidth", "penalty"):
            if not 0 < getattr(self, name) < float("inf"):
                raise EmergenceError(
                    f"JumpReLU needs {name} > 0, got {getattr(self, name)}", remedy=f"choose {name} > 0"
                )

    @property
    def prefixes(self) -> tuple[int, ...]:
        """None: thresholds and nested groups are not combined here."""
        return ()


Activation = TopK | BatchTopK | JumpReLU


def check_activation(activation: Activation, n_latents: int) -> None:
    """Raise EmergenceError where tokens would use more latents than there are, or a prefix is not one."""
    if activation.k > n_latents:
        raise EmergenceError(
            f"k={activation.k} active latents of only {n_latents}",
            where="SAE",
            remedy="choose k smaller than n_latents",
        )
    if activation.prefixes and activation.prefixes[-1] >= n_latents:
        raise EmergenceError(
            f"prefixes {list(activation.prefixes)} must stay below the {n_latents} latents",
            where="SAE",
            remedy="name prefixes smaller than n_latents; the whole dictionary counts anyway",
        )


def _check_k(k: int, name: str) -> None:
    if k < 1:
        raise EmergenceError(f"an SAE needs at least one active latent, got {name}={k}", remedy=f"choose {name} >= 1")


def _check_prefixes(prefixes: tuple[int, ...]) -> None:
    if list(prefixes) != sorted(set(prefixes)) or any(prefix < 1 for prefix in prefixes):
        raise EmergenceError(
            f"prefixes must ascend from at least 1, got {list(prefixes)}", remedy="list each prefix once, ascending"
        )
