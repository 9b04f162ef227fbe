"""Edges, lineages, stability and persistence of latents with a known fate."""

import numpy as np
import polars as pl
import pytest

from benchmarks.planted_family import PlantedFamily
from emergence_assets.emergence.lineage.edges import edges_between
from emergence_assets.emergence.lineage.latent_persistence import latent_persistence
from emergence_assets.emergence.lineage.nodes import lineage_nodes
from emergence_assets.emergence.lineage.pairs import (
    Pair,
    next_seeds,
    pairs_over_layers,
    pairs_over_sizes,
    pairs_over_steps,
)
from emergence_assets.emergence.lineage.read_latents import SAEKey
from emergence_assets.emergence.lineage.stability import lineage_stability, size_stability
from emergence_assets.emergence.lineage.stability_table import LATENT_CARRY, LINEAGE_STABILITY, SIZE_STABILITY
from emergence_assets.emergence.lineage.table import FEATURE_LINEAGE, LINEAGE_NODES, MATCHED_LATENTS, SIZE_LINEAGE
from emergence_assets.study.strict import MOST_SEED
from resources.tables.violations import violations

STEPS, SEEDS = [0, 10, 100, 1000], [0, 1]
CLEAN = {"repeated_keys": 0, "missing_values": 0, "values_out_of_range": 0}


def mean(column: pl.Series) -> float:
    return float(column.cast(pl.Float64).to_numpy().mean())


def edges_of(family: PlantedFamily, pairs) -> pl.DataFrame:
    return pl.concat(
        [FEATURE_LINEAGE.schema.to_frame()]
        + [edges_between(pair.axis, family.read(pair.source), family.read(pair.target), ("m", "m")) for pair in pairs]
    )


def over_steps(family: PlantedFamily) -> tuple[pl.DataFrame, pl.DataFrame]:
    latents = pl.concat(family.read(SAEKey(step, 0, seed)).frame() for step in STEPS for seed in SEEDS)
    return edges_of(family, pairs_over_steps(STEPS, 0, SEEDS)), latents


def born_and_gone(key: SAEKey) -> set[int]:
    """Features 0-39 exist throughout, 40-49 from step 100 on, 50-59 until step 10."""
    return {*range(40)} | ({*range(40, 50)} if key.step >= 100 else {*range(50, 60)})


@pytest.fixture(scope="module")
def family() -> PlantedFamily:
    return PlantedFamily(born_and_gone)


@pytest.fixture(scope="module")
def found(family: PlantedFamily) -> tuple[pl.DataFrame, pl.DataFrame]:
    return over_steps(family)


def test_accepted_edges_are_the_true_ones(family: PlantedFamily, found) -> None:
    edges, latents = found
    assert violations(edges, FEATURE_LINEAGE) == CLEAN
    assert violations(latents, MATCHED_LATENTS) == CLEAN
    accepted = edges.filter("accepted")
    ends = [
        np.array(
            [
                family.feature_of(SAEKey(step, layer, seed))[latent]
                for step, layer, seed, latent in accepted.select(
                    pl.col(f"{side}_{name}") for name in ("step", "layer", "sae_seed", "latent")
                ).iter_rows()
            ]
        )
        for side in ("src", "dst")
    ]
    assert (ends[0] == ends[1]).mean() > 0.995
    shared = sum(
        len(set(family.feature_of(pair.source)) & set(family.feature_of(pair.target)) & set(range(60)))
        for pair in pairs_over_steps(STEPS, 0, SEEDS)
    )
    assert (ends[0] == ends[1]).sum() > 0.98 * shared
    assert mean(accepted["in_assignment"]) > 0.99
    known = accepted.filter(pl.Series((ends[0] == ends[1]) & (ends[0] < 30)))
    assert known["same_category"].all()
    assert accepted.filter(pl.Series(ends[0] >= 30))["same_category"].null_count() > 0
    assert abs(mean(accepted["corr_score"]) - mean(accepted["corr_act"])) < 0.05


def test_lineages_are_born_and_end_between_the_right_checkpoints(family: PlantedFamily, found) -> None:
    edges, latents = found
    nodes = lineage_nodes(edges, latents, "m", lambda key: direction_table(family, key))
    assert violations(nodes, LINEAGE_NODES) == CLEAN
    first = [
        family.feature_of(SAEKey(row["birth_step_hi"], 0, row["sae_seeds"][0]))[row["latents"][0]]
        for row in nodes.iter_rows(named=True)
    ]
    nodes = nodes.with_columns(feature=pl.Series(first))
    throughout = nodes.filter(pl.col("feature") < 40, pl.col("n_members") == 4)
    assert len(throughout) > 0.95 * 80
    assert throughout["birth_step_lo"].null_count() == throughout["death_step_hi"].null_count() == len(throughout)
    late = nodes.filter(pl.col("feature").is_between(40, 49))
    assert set(late.select("birth_step_lo", "birth_step_hi", "death_step_hi").iter_rows()) == {(10, 100, None)}
    gone = nodes.filter(pl.col("feature").is_between(50, 59))
    assert set(gone.select("birth_step_lo", "death_step_lo", "death_step_hi").iter_rows()) == {(None, 10, 100)}
    assert throughout["sae_seeds"].list.eval(pl.element().diff().abs().drop_nulls().min()).explode().min() == 1
    assert mean(throughout["cos_first_last"]) > 0.7
    assert nodes["drift_cos"].list.last().min() == pytest.approx(1, abs=1e-5)
    labelled = throughout.filter(pl.col("feature") < 30)
    assert labelled["category"].to_list() == [f"c{feature % 7}" for feature in labelled["feature"]]
    assert set(labelled["n_path_categories"]) == {1}


def direction_table(family: PlantedFamily, key: SAEKey) -> np.ndarray:
    read = family.read(key)
    assert read.latents.direction_nd is not None
    table = np.zeros((60, read.latents.direction_nd.shape[1]), dtype=np.float32)
    table[read.latents.latent_n] = read.latents.direction_nd
    return table


def test_stability_over_the_ceiling_is_the_persistence_whatever_share_an_sae_finds() -> None:
    """Every SAE finds each feature with probability 0.6; a fifth of the features is replaced at each checkpoint."""
    alive = {step: set(range(12 * i, 60)) for i, step in enumerate(STEPS[:3])}

    def some(key: SAEKey) -> list[int]:
        draw = np.random.default_rng([7, *key])
        return [feature for feature in alive.get(key.step, alive[100]) if draw.random() < 0.6]

    tables = [over_steps(PlantedFamily(some, seed=seed)) for seed in range(3)]
    norm = [
        lineage_stability(edges, latents, "m", 1000, 6).filter(
            pl.col("axis") == "step",
            pl.col("layer").is_null(),
            pl.col("population") == "firing",
            pl.col("pairing") == "other_seed",
        )
        for edges, latents in tables
    ]
    last = pl.concat(norm).filter(pl.col("step_from") == 100)
    assert mean(last["s_norm"]) == pytest.approx(1, abs=0.15)  # nothing is replaced between 100 and 1000
    assert mean(last["s_raw"]) < 0.6
    assert (last["s_norm_lo"] < last["s_norm"]).all()
    assert (last["s_norm"] < last["s_norm_hi"]).all()


def test_the_ceiling_is_that_of_the_target_and_a_low_one_leaves_no_ratio(found) -> None:
    edges, latents = found
    table = lineage_stability(edges, latents, "m", 1000, 6)
    assert violations(table, LINEAGE_STABILITY) == CLEAN
    seeds = table.filter(pl.col("axis") == "seed", pl.col("layer") == 0, pl.col("population") == "firing")
    ceiling = dict(seeds.select("step_from", "s_raw").iter_rows())
    steps = table.filter(
        pl.col("axis") == "step",
        pl.col("layer") == 0,
        pl.col("population") == "firing",
        pl.col("pairing") == "other_seed",
    )
    for row in steps.iter_rows(named=True):
        assert row["s_ceiling"] == pytest.approx(ceiling[row["step_to"]])
        assert row["s_norm"] == pytest.approx(row["s_raw"] / row["s_ceiling"], rel=1e-5)
    # of 60 latents 50 have a feature, and 10 of these vanish between steps 10 and 100
    row = steps.filter(pl.col("step_from") == 10).row(0, named=True)
    assert row["s_raw"] == pytest.approx(40 / 60, abs=0.03)
    strangers = PlantedFamily(lambda _key: [])
    nothing = lineage_stability(*over_steps(strangers), "m", 1000, 6)
    assert (nothing["s_raw"] < 0.1).all()
    assert nothing["s_norm"].null_count() == nothing["survival"].null_count() == len(nothing)


def test_a_single_seed_is_compared_with_itself_and_marked() -> None:
    assert next_seeds([4]) == {4: 4}
    family = PlantedFamily(born_and_gone)
    pairs = pairs_over_steps(STEPS, 0, [0])
    assert {(pair.axis, pair.source.sae_seed, pair.target.sae_seed) for pair in pairs} == {("step", 0, 0)}
    latents = pl.concat(family.read(SAEKey(step, 0, 0)).frame() for step in STEPS)
    edges = edges_of(family, pairs)
    nodes = lineage_nodes(edges, latents, "m", lambda key: direction_table(family, key))
    assert set(nodes["pairing"]) == {"same_seed"}
    table = lineage_stability(edges, latents, "m", 1000, 6)
    assert set(table["pairing"]) == {"same_seed"}
    assert table["s_ceiling"].null_count() == len(table)
    # with two seeds the same seed is compared too, and has no ceiling either
    same = lineage_stability(*over_steps(family), "m", 1000, 6).filter(pl.col("pairing") == "same_seed")
    assert same["s_norm"].null_count() == same["s_ceiling"].null_count() == len(same) > 0


def test_the_largest_seeds_of_a_study_give_the_same_numbers(family: PlantedFamily, found) -> None:
    edges, latents = found
    large_edges = edges.with_columns(pl.col("src_sae_seed", "dst_sae_seed") * MOST_SEED)
    large_latents = latents.with_columns(pl.col("sae_seed") * MOST_SEED)
    table = lineage_stability(large_edges, large_latents, "m", 1000, 6)
    assert table.equals(lineage_stability(edges, latents, "m", 1000, 6))

    def directions(key: SAEKey):
        return direction_table(family, key._replace(sae_seed=key.sae_seed // MOST_SEED))

    nodes = lineage_nodes(large_edges, large_latents, "m", directions)
    assert set(nodes["sae_seeds"].explode()) == {0, MOST_SEED}
    assert len(nodes) == len(lineage_nodes(edges, latents, "m", lambda key: direction_table(family, key)))


def test_nothing_matched_makes_empty_tables() -> None:
    edges, latents = FEATURE_LINEAGE.schema.to_frame(), MATCHED_LATENTS.schema.to_frame()
    assert lineage_nodes(edges, latents, "m", lambda _key: np.zeros((1, 1), np.float32)).is_empty()
    assert lineage_stability(edges, latents, "m", 1, 6).is_empty()
    stability = lineage_stability(edges, latents, "m", 1, 6)
    assert latent_persistence(edges, stability, lambda key: pytest.fail(str(key)), [0, 1], 2).is_empty()


def test_three_seeds_go_round_in_a_circle() -> None:
    assert next_seeds([5, 0, 2]) == {0: 2, 2: 5, 5: 0}
    pairs = pairs_over_steps([0, 1], 3, [0, 2, 5])
    over = {(pair.source.sae_seed, pair.target.sae_seed) for pair in pairs if pair.axis == "step"}
    assert over == {(0, 0), (2, 2), (5, 5), (0, 2), (2, 5), (5, 0)}
    among = [(pair.source.sae_seed, pair.target.sae_seed) for pair in pairs if pair.axis == "seed"]
    assert sorted(among) == [(0, 2), (0, 2), (0, 5), (0, 5), (2, 5), (2, 5)]


def test_early_layers_are_compared_with_all_later_thirds_and_others_with_their_neighbour() -> None:
    # Thirds of six layers: 0 and 1, 2 and 3, 4 and 5.
    pairs = {(pair.source.layer, pair.target.layer) for pair in pairs_over_layers(9, [-1, *range(6)], 6, [0])}
    to_later_thirds = {(early, later) for early in (0, 1) for later in (2, 3, 4, 5)}
    assert pairs == {(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)} | to_later_thirds


def test_layers_of_two_sizes_are_compared_at_like_relative_depth() -> None:
    pairs = pairs_over_sizes((9, 7), ([-1, 0, 1], range(6)), (2, 6), [0, 1])
    assert {(pair.source.step, pair.target.step) for pair in pairs} == {(9, 7)}
    assert {(pair.source.layer, pair.target.layer) for pair in pairs} == {(0, 2), (1, 5)}
    assert {(pair.source.sae_seed, pair.target.sae_seed) for pair in pairs} == {(0, 1), (1, 0)}
    assert pairs_over_sizes((9, 9), ([0], [-1]), (1, 6), [0, 1]) == []


@pytest.mark.parametrize("shared", [40, 0])
def test_latents_that_a_larger_model_has_too_are_found_by_their_activations(shared: int) -> None:
    """The small model (layer 0) has the first features, the large model (layer 1) all; an SAE finds three quarters."""

    def some(key: SAEKey) -> list[int]:
        draw = np.random.default_rng([3, *key])
        there = range(shared) if key.layer == 0 else range(60)
        return [feature for feature in there if draw.random() < 0.75]

    family = PlantedFamily(some)
    pairs = [Pair("size", SAEKey(9, 0, seed), SAEKey(9, 1, 1 - seed)) for seed in SEEDS]
    # Directions of two models are unrelated and differ in number.
    edges = pl.concat(
        edges_between("size", family.read(pair.source), family.read(pair.target), ("small", "large"), share_space=False)
        for pair in pairs
    )
    assert violations(edges, SIZE_LINEAGE) == CLEAN
    assert edges["cos_dec"].null_count() == len(edges)
    assert set(edges.select("model", "dst_model").iter_rows()) <= {("small", "large")}
    small, large = (pl.concat(family.read(SAEKey(9, layer, seed)).frame() for seed in SEEDS) for layer in (0, 1))
    ceiling = edges_of(family, pairs_over_steps([9], 1, SEEDS))
    shares = size_stability(pairs, edges, small, ceiling, large, ("small", "large"), 1000)
    assert violations(shares, SIZE_STABILITY) == CLEAN
    assert set(shares.select("axis", "model", "model_to").iter_rows()) == {("size", "small", "large")}
    row = shares.filter(pl.col("layer") == 0, pl.col("population") == "firing").row(0, named=True)
    assert (row["layer_to"], row["n_latents"]) == (1, 2 * 60)
    assert row["s_ceiling"] == pytest.approx(0.75**2, abs=0.15)
    assert row["s_raw"] == pytest.approx(0.75**2 * shared / 60, abs=0.1)
    assert shares["survival"].null_count() == len(shares)


def test_latents_that_skip_the_middle_are_distinguished_from_persistent_ones() -> None:
    """Features 0–19 are in every layer, 20–39 in the first and the last only."""

    def by_layer(key: SAEKey) -> range:
        return range(40) if key.layer in (0, 5) else range(20)

    family = PlantedFamily(by_layer)
    edges = edges_of(family, pairs_over_layers(1000, list(range(6)), 6, SEEDS))
    latents = pl.concat(family.read(SAEKey(1000, layer, seed)).frame() for layer in range(6) for seed in SEEDS)
    between = edges_of(family, [Pair("seed", SAEKey(1000, one, 0), SAEKey(1000, one, 1)) for one in range(6)])
    stability = lineage_stability(pl.concat([edges, between]), latents, "m", 1000, 6)
    table = latent_persistence(edges, stability, family.read, list(range(6)), 6, n_boot=50)
    assert violations(table, LATENT_CARRY) == CLEAN
    feature = pl.Series(
        [
            family.feature_of(SAEKey(1000, row["src_layer"], row["src_sae_seed"]))[row["src_latent"]]
            for row in table.iter_rows(named=True)
        ]
    )
    own = table.with_columns(feature=feature)
    last = own.filter(pl.col("dst_layer") == 5)
    assert mean(last.filter(pl.col("feature") < 20)["n_mid_matched"] == 2) > 0.9
    returned = last.filter(pl.col("feature").is_between(20, 39))
    assert len(returned) >= 36
    assert mean(returned["skips_middle"]) > 0.9
    assert mean(returned["carry_lift"]) > 10  # active on a twentieth of the texts: 20 if always together
    assert mean(returned["carry_control"]) == pytest.approx(1, abs=0.2)
    assert (
        (returned["carry_lift_lo"] <= returned["carry_lift"]) & (returned["carry_lift_hi"] >= returned["carry_lift"])
    ).all()
    assert set(own["n_mid_layers"]) == {2}
    # of 60 latents in each of the two middle layers, 20 are found by the other seed
    assert mean(own["p_missed"]) == pytest.approx((2 / 3) ** 2, abs=0.03)
