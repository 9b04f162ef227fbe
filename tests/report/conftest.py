"""Tables of a small study with planted concepts, made by the real functions from codes to headline."""

import dataclasses
import functools
import hashlib
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from benchmarks.planted_family import PlantedFamily
from emergence_assets.checkpoints.facts import ModelFacts, checkpoint_facts
from emergence_assets.checkpoints.files.folder import FolderFacts
from emergence_assets.checkpoints.identity.measurement import Measurement
from emergence_assets.checkpoints.identity.registry import registry_frame
from emergence_assets.checkpoints.identity.validation import validate_checkpoints
from emergence_assets.emergence.claims.claims import claims
from emergence_assets.emergence.claims.hazard import emergence_hazard
from emergence_assets.emergence.claims.supported import supported_histories
from emergence_assets.emergence.controls.comparison import category_controls
from emergence_assets.emergence.controls.table import CONTROL_PARTS
from emergence_assets.emergence.cost.cost_utility import cost_utility
from emergence_assets.emergence.lineage.edges import edges_between
from emergence_assets.emergence.lineage.pairs import pairs_over_steps
from emergence_assets.emergence.lineage.read_latents import SAEKey
from emergence_assets.emergence.lineage.stability import lineage_stability
from emergence_assets.emergence.mechanism.table import REACTIVATION_MECHANISM
from emergence_assets.emergence.presence.headline import headline
from emergence_assets.emergence.presence.presence import category_presence
from emergence_assets.emergence.scale.over_scale import FIXED_WIDTH, SizeReading, emergence_over_scale
from emergence_assets.emergence.scale.table import MODEL_SEEDS
from emergence_assets.emergence.space.over_space import emergence_over_space
from emergence_assets.emergence.space.reactivation import reactivation
from emergence_assets.emergence.space.table import REACTIVATION
from emergence_assets.emergence.time.over_time import emergence_over_time
from emergence_assets.emergence.use.table import FEATURE_USE
from emergence_assets.features.statistics.cell_tables import CellRecipe, dense_scores, latent_stats
from emergence_assets.features.statistics.codes import Codes
from emergence_assets.features.statistics.labels import Labels
from emergence_assets.features.statistics.presence_cell import presence_cell, random_presence_cell, with_rule
from emergence_assets.plan.timeline import TimelineEntry
from emergence_assets.report.charts.readings import ReportTables
from emergence_assets.study.controls import MADE_CONTROLS

CONTROLS = (*MADE_CONTROLS, "step0", "label_shuffle", "random_encoder", "dense", "bow")
RECIPE = CellRecipe(n_boot=40, n_shuffles=6)
N_TEXTS, N_LATENTS = 4800, 24
STEPS = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
SIZES = {"small": (20_000, 1), "large": (200_000, 2)}
"""Model to parameters and layers; the largest model is last by size but not in the alphabet."""
CATEGORIES: tuple[str, ...] = ("bird & bee", "</script><script>alert(1)</script>", "fish", "music", "city", "tree")
"""Names are user text and may look like HTML."""

Tables = Callable[..., ReportTables]


@pytest.fixture(scope="session")
def planted_tables() -> Tables:
    """Make the tables of a study whose latents gain `strength` (share of the category's texts) after step 8.

    `shuffle_shift` is added to the shuffled-label control; `dense` is the strength of the dense probe at all steps.
    """

    @functools.cache
    def make(
        strength: float,
        shuffle_shift: float = 0.0,
        dense: float = 2.0,
        steps: tuple[int, ...] = STEPS,
        seed: int = 1,
    ) -> ReportTables:
        cells = _cells(strength, dense, steps, seed)
        shift = pl.when(pl.col("control_id") == "label_shuffle").then(shuffle_shift).otherwise(0.0).cast(pl.Float32)
        cells = cells.with_columns(pl.col("p_best", "p_best_lo", "p_best_hi") + shift)
        presence = category_presence(cells, _bow())
        metrics = [
            {"model": model, "step": step, "layer": layer, "n_layers": n_layers, "sae_seed": 0, "fvu": 0.3, "l0": 4.0}
            | {"dead_frac": 0.1, "explained_variance": 0.7, "dense_frac": 0.0, "pw_mcc": 0.6}
            | {"participation_ratio": 2.0}
            for model, (_, n_layers) in SIZES.items()
            for step in steps
            for layer in range(n_layers)
        ]
        time, scale = emergence_over_time(presence), emergence_over_scale({FIXED_WIDTH: SizeReading(presence)})
        space = emergence_over_space(presence)
        registry = pl.concat(_registry(model, *shape, steps) for model, shape in SIZES.items())
        controls = pl.concat(
            category_controls(_control_parts(part), part, CONTROLS) for part in presence.partition_by("model")
        )
        stated = claims(
            {
                "checkpoint_registry": registry,
                "category_presence": presence,
                "category_controls": controls,
                "emergence_over_time": time,
                "emergence_over_space": space,
                "feature_use": _use(),
                "reactivation": reactivation(presence),
                "reactivation_mechanism": _mechanism(),
                "lineage_stability": _stability(),
                "emergence_over_scale": scale,
                "model_seeds": MODEL_SEEDS.schema.to_frame(),
            },
            "subject",
            surface_form_confounds={},
        )
        return ReportTables(
            level="subject",
            category_presence=presence,
            emergence_over_time=supported_histories(time, stated),
            emergence_hazard=emergence_hazard(time, presence, stated),
            emergence_over_space=space,
            reactivation_mechanism=_mechanism(),
            feature_use=_use(),
            emergence_over_scale=scale,
            cost_utility=cost_utility(presence, _no_losses()),
            headline=headline(presence),
            category_controls=controls,
            claims=stated,
            sae_metrics=pl.DataFrame(metrics),
            lineage_stability=_stability(),
            checkpoint_registry=registry,
            reactivation=REACTIVATION.schema.to_frame(),
            domains=dict.fromkeys(CATEGORIES[:3], "living") | dict.fromkeys(CATEGORIES[3:], "made"),
        )

    return make


@pytest.fixture(scope="session")
def empty(rising: ReportTables) -> ReportTables:
    """A study without any result."""
    frames = {name: frame.clear() for name, frame in vars(rising).items() if isinstance(frame, pl.DataFrame)}
    return dataclasses.replace(rising, **frames)


@pytest.fixture(scope="session")
def rising(planted_tables: Tables) -> ReportTables:
    """Every category gets a latent of its own between step 8 and step 16; the information exists from the start."""
    return planted_tables(0.5)


def _no_losses() -> pl.DataFrame:
    return pl.DataFrame(schema={"model": pl.String, "step": pl.Int32, "loss": pl.Float32})


def _cells(strength: float, dense: float, steps: tuple[int, ...], seed: int) -> pl.DataFrame:
    rng, rng_of_random = np.random.default_rng(seed), np.random.default_rng(seed + 1)
    category = rng.integers(0, len(CATEGORIES), N_TEXTS).astype(np.int16)
    labels = Labels("subject", CATEGORIES, category, rng.random(N_TEXTS) < 0.5)
    frames = []

    def drawn(rng: np.random.Generator, rate: np.ndarray) -> Codes:
        active = rng.random(rate.shape) < rate
        values = np.where(active, rng.random(rate.shape) + 0.1, 0).astype(np.float32)
        return Codes(values, np.broadcast_to(np.arange(N_LATENTS, dtype=np.int32), values.shape), N_LATENTS)

    for model, (n_params, n_layers) in SIZES.items():
        for step in steps:
            for layer in range(n_layers):
                read_out = rng.normal(size=(N_TEXTS, len(CATEGORIES)))
                read_out[np.arange(N_TEXTS), category] += dense
                rate = np.full((N_TEXTS, N_LATENTS), 0.1)
                scores = dense_scores(read_out, [labels], RECIPE)
                dictionaries = []
                for draw in range(2):
                    codes = drawn(rng_of_random, rate)
                    cell = random_presence_cell(codes, scores, [labels], RECIPE)
                    dictionaries.append((draw, with_rule(cell, latent_stats(codes, [labels], RECIPE))))
                rate[np.arange(N_TEXTS), category] += strength * (step > 8)
                for sae_seed in range(2):
                    codes = drawn(rng, rate)
                    cell = presence_cell(codes, scores, [labels], RECIPE)
                    dictionaries.append((sae_seed, with_rule(cell, latent_stats(codes, [labels], RECIPE))))
                for sae_seed, cell in dictionaries:
                    frames.append(
                        cell.with_columns(
                            pl.lit(model).alias("model"),
                            pl.lit(n_params, pl.Int64).alias("n_params_nonemb"),
                            pl.lit(step, pl.Int32).alias("step"),
                            pl.lit(step * 512, pl.Int64).alias("tokens_seen"),
                            pl.lit(layer, pl.Int16).alias("layer"),
                            pl.lit(n_layers, pl.Int16).alias("n_layers"),
                            pl.lit((layer + 1) / n_layers, pl.Float32).alias("rel_depth"),
                            pl.lit(sae_seed, pl.Int32).alias("sae_seed"),
                            pl.lit(f"{model}-{step}-{layer}").alias("data_version"),
                        )
                    )
    return pl.concat(frames)


def _control_parts(presence: pl.DataFrame) -> pl.DataFrame:
    """Make every control of a study, each equal to permuted labels."""
    last = presence.filter(pl.col("step") == pl.col("step").max(), pl.col("control_id") == "label_shuffle")
    return pl.concat(
        last.with_columns(control_id=pl.lit(control), draw=pl.lit(0)).select(
            pl.col(name).cast(dtype) for name, dtype in CONTROL_PARTS.schema.items()
        )
        for control in MADE_CONTROLS
    )


def _mechanism() -> pl.DataFrame:
    """Make shares of two categories of the large model; those of a third are undefined."""
    rows = [
        {"category": category, "share_carried": carried, "share_attn": 1 - carried - mlp, "share_mlp": mlp}
        for category, carried, mlp in ((CATEGORIES[0], 0.4, 0.9), (CATEGORIES[1], 0.7, 0.1))
    ]
    rows.append({"category": CATEGORIES[2]} | dict.fromkeys(("share_carried", "share_attn", "share_mlp")))
    shared = {"model": "large", "category_level": "subject", "undefined_because": "none"}
    return pl.DataFrame(
        [dict.fromkeys(REACTIVATION_MECHANISM.schema) | shared | row for row in rows],
        schema=REACTIVATION_MECHANISM.schema,
    )


def _use() -> pl.DataFrame:
    """Make the use of three categories of the large model: one is used, one is not, one has no controls."""
    shared = {"model": "large", "category_level": "subject", "aggregate": "none", "n_categories": 1, "layer": 1}
    shared |= {"step": STEPS[-1], "rise_own": 0.05, "rise_other": 0.01, "n_seeds": 2, "n_seeds_agree": 2, "q": 0.01}
    controls = {"use_control": 0.002, "use_random": 0.001, "above_control_lo": 0.01, "above_random_lo": 0.01}
    rows = [
        {"category": CATEGORIES[0], "use": 0.04, "use_lo": 0.02, "use_hi": 0.06} | controls,
        {"category": CATEGORIES[1], "use": 0.01, "use_lo": -0.01, "use_hi": 0.03} | controls,
        {"category": CATEGORIES[2], "use": 0.02, "use_lo": 0.01, "use_hi": 0.03},
    ]
    return pl.DataFrame([dict.fromkeys(FEATURE_USE.schema) | shared | row for row in rows], schema=FEATURE_USE.schema)


@functools.cache
def _stability() -> pl.DataFrame:
    """Make stability of two SAE seeds that find 40 of 60 latents in common, at every step."""
    family, seeds = PlantedFamily(lambda _key: range(40)), [0, 1]
    edges = [
        edges_between(pair.axis, family.read(pair.source), family.read(pair.target), ("large", "large"))
        for pair in pairs_over_steps(STEPS, 0, seeds)
    ]
    latents = pl.concat(family.read(SAEKey(step, 0, seed)).frame() for step in STEPS for seed in seeds)
    return lineage_stability(pl.concat(edges), latents, "large", *SIZES["large"])


def _registry(model: str, n_params: int, n_layers: int, steps: tuple[int, ...]) -> pl.DataFrame:
    """Make checkpoints on a straight trajectory, and among them one with the weights of the last."""
    start, way = np.random.default_rng(n_params).normal(size=(2, 200)).astype(np.float32)
    measured = {step: _measurement(n_params, n_layers, start + way * np.log1p(step) / 8) for step in steps}
    if steps[-1] > 16:
        measured[24] = measured[steps[-1]]
    verdicts = validate_checkpoints(measured)
    entries = [
        TimelineEntry(
            step,
            verdicts[step].status,
            verdicts[step].reason,
            verdicts[step].failed,
            verdicts[step].dup_of_step,
            revision=f"step{step}",
            location=f"project/{model}",
            commit_sha=hashlib.sha1(f"{model} {step}".encode()).hexdigest(),
            identity=f"{step:032x}",
            weights_bytes=2 * n_params,
        )
        for step in sorted(measured)
    ]
    return registry_frame(model, 512, entries, measured)


def _measurement(n_params: int, n_layers: int, sample: np.ndarray) -> Measurement:
    digest = hashlib.sha256(sample.tobytes()).hexdigest()
    facts = checkpoint_facts(
        FolderFacts("gpt_neox", "GPTNeoXForCausalLM", digest, "c", "t", 2 * n_params),
        ModelFacts(n_layers, 16, 2, 2048, n_params, n_params // 2),
    )
    norm = float(np.linalg.norm(sample))
    return Measurement(
        facts, ("block 0",), (digest[:32],), (digest[:32],), (norm,), (len(sample),), (len(sample),), 1.0, 7.6, sample
    )


def _bow() -> pl.DataFrame:
    frame = pl.DataFrame({"category": CATEGORIES, "p_bow": [0.97] * len(CATEGORIES)})
    both = [
        frame.with_columns(control_id=pl.lit(control), category_level=pl.lit("subject"), p_bow=pl.lit(p, pl.Float32))
        for control, p in (("none", 0.97), ("label_shuffle", 0.5))
    ]
    return pl.concat(both)
