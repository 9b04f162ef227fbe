"""Error rates of latent matching on planted pairs and untrained dictionaries, and the bias of ratios to a ceiling."""

import numpy as np
import torch

from benchmarks.planted_family import N_FEATURES, PlantedFamily
from benchmarks.rounds import Table
from emergence_assets.emergence.lineage.correlation import latent_activity
from emergence_assets.emergence.lineage.edges import edges_between
from emergence_assets.emergence.lineage.matching import LatentSet, match_latents
from emergence_assets.emergence.lineage.matching_nulls import null_threshold, rotated
from emergence_assets.emergence.lineage.read_latents import SAEKey
from emergence_assets.emergence.lineage.untrained_sae import untrained_sae
from emergence_assets.features.statistics.codes import Codes

N_DRAWS = 10
N_SHARED = 40
"""Number of features, of 60, that both SAEs have found; their other latents have no partner."""
NOISES = (0.1, 0.2, 0.3, 0.4)
"""Standard deviations of noise on coordinates of size 1; true partners have cosines of .99, .96, .92 and .86."""
D_MODEL, N_LATENTS, K, N_TEXTS = 64, 512, 16, 4000


def measure_latent_matching() -> Table:
    """Measure recall and false matches of planted pairs, acceptance under each null, and bias of ceiling ratios."""
    chances = ((0.3, 0.3), (0.3, 0.6), (0.6, 0.3), (0.6, 0.6))
    return {
        **{f"planted, noise {noise}": planted_matches(noise, N_DRAWS) for noise in NOISES},
        **{f"untrained, spectrum {power}": untrained_acceptance(power, N_DRAWS) for power in (0.0, 0.5, 1.0)},
        **{f"80 % last, found {a:.0%}, then {b:.0%}": ratio_to_ceilings(a, b) for a, b in chances},
    }


def planted_matches(noise: float, n_draws: int) -> dict[str, float | str]:
    """Measure the share of true pairs that are accepted, and the share of accepted pairs that are not true."""
    n_true = n_accepted = n_right = 0
    for draw in range(n_draws):
        family = PlantedFamily(lambda _key: range(N_SHARED), noise=noise, seed=draw)
        one, other = SAEKey(0, 0, 0), SAEKey(1, 0, 1)
        edges = edges_between("step", family.read(one), family.read(other), ("m", "m")).filter("accepted")
        source = family.feature_of(one)[edges["src_latent"].to_numpy()]
        target = family.feature_of(other)[edges["dst_latent"].to_numpy()]
        n_true, n_accepted = n_true + N_SHARED, n_accepted + len(edges)
        n_right += int(((source == target) & (source < N_FEATURES)).sum())
    return {"recall": n_right / n_true, "false share of matches": 1 - n_right / max(n_accepted, 1)}


def untrained_acceptance(power: float, n_draws: int) -> dict[str, float | str]:
    """Measure the share of an untrained dictionary's latents that match another untrained dictionary on the read-outs.

    Args:
        power: read-outs have principal axes whose standard deviations fall as rank ** -power.
        n_draws: pairs of dictionaries.
    """
    rows_pd = np.random.default_rng(0).standard_normal((N_TEXTS, D_MODEL)).astype(np.float32)
    rows_pd *= np.arange(1, D_MODEL + 1, dtype=np.float32) ** -power
    by_rotated, by_both = [], []
    for draw in range(n_draws):
        one, other, null = (_untrained(rows_pd, 3 * draw + i) for i in range(3))
        edges = match_latents(one, other)
        score = edges.score_e[edges.mutual_e]
        turned = null_threshold(one, rotated(other, draw))
        untrained = max(null_threshold(one, null), null_threshold(other, null))
        by_rotated.append((score > turned).sum() / len(one))
        by_both.append((score > max(turned, untrained)).sum() / len(one))
    return {"above the rotated null": float(np.mean(by_rotated)), "above both nulls": float(np.mean(by_both))}


def ratio_to_ceilings(before: float, after: float, lasting: float = 0.8) -> dict[str, float | str]:
    """Measure the share of kept latents, also over the ceiling of source or target, if SAEs find features by chance.

    The probability of being found differs between features (beta distribution) and is the same at both checkpoints.

    Args:
        before: mean probability that a feature is found at the first checkpoint.
        after: mean probability that a feature is found at the second checkpoint.
        lasting: share of features that exist at both.
    """
    draw, n = np.random.default_rng(0), 400_000
    ease = draw.beta(2, 2, n) / 0.5
    chance_before, chance_after = np.minimum(before * ease, 1), np.minimum(after * ease, 1)
    lasts = draw.random(n) < lasting
    fresh = np.minimum(after * draw.permutation(ease), 1)
    # new features replace lost ones, so that both checkpoints have equally many
    at_second = np.where(lasts, chance_after, fresh)
    found = draw.random(n) < chance_before
    raw = (found & lasts & (draw.random(n) < chance_after)).sum() / found.sum()
    of_source = (found & (draw.random(n) < chance_before)).sum() / found.sum()
    found_later = draw.random(n) < at_second
    of_target = (found_later & (draw.random(n) < at_second)).sum() / found_later.sum()
    return {"raw": float(raw), "over the source's": float(raw / of_source), "over the target's": float(raw / of_target)}


def _untrained(rows_pd: np.ndarray, seed: int) -> LatentSet:
    sae = untrained_sae(rows_pd, N_LATENTS, K, seed)
    values_pk, indices_pk = sae.encode(torch.from_numpy(rows_pd)).padded()
    codes = Codes(values_pk.numpy(), indices_pk.numpy().astype(np.int32), N_LATENTS)
    activity = latent_activity(codes, np.arange(len(rows_pd)))
    return LatentSet(activity, sae.W_dec_nd.numpy()[activity.latent_n])
