"""Claims follow from the tables: with a failed control, a claim loses its grade."""

from collections.abc import Mapping
from typing import Any

import polars as pl
import pytest

from emergence_assets.emergence.claims.claim import format_number, speaks_against
from emergence_assets.emergence.claims.claims import claims
from emergence_assets.emergence.claims.of_time import MUST_BEAT, SHOULD_BEAT
from emergence_assets.emergence.claims.spec import CLAIMS as SPEC
from emergence_assets.emergence.claims.supported import supported, supported_histories
from emergence_assets.emergence.claims.table import CLAIMS
from emergence_assets.emergence.controls.table import CATEGORY_CONTROLS
from emergence_assets.emergence.lineage.stability_table import LINEAGE_STABILITY
from emergence_assets.emergence.mechanism.table import REACTIVATION_MECHANISM
from emergence_assets.emergence.presence.table import CATEGORY_PRESENCE
from emergence_assets.emergence.scale.table import EMERGENCE_OVER_SCALE, MODEL_SEEDS
from emergence_assets.emergence.space.table import EMERGENCE_OVER_SPACE, REACTIVATION
from emergence_assets.emergence.time.table import EMERGENCE_OVER_TIME
from emergence_assets.emergence.use.table import FEATURE_USE
from resources.tables.expectations import validate
from resources.tables.relation import with_relations

PLACE = {"model": "m", "layer": 1, "category_level": "subject", "aggregate": "none", "category": "fish"}
RISE = PLACE | {
    "layer_choice": "best",
    "control_id": "none",
    "metric": "p_best",
    "step_last": 1000,
    "late_gain": 0.2,
    "late_gain_lo": 0.15,
    "late_gain_hi": 0.25,
    "q_emerged": 0.001,
    "passes_gate": True,
    "is_dated": True,
    "n_seeds": 2,
    "n_seeds_agree": 2,
    "half_step": 99.0,
    "half_step_lo": 50.0,
    "half_step_hi": 200.0,
    "half_step_interp": 110.0,
    "censor": "none",
}
NET = RISE | {"metric": "net", "late_lo": 0.05, "late_gain": 0.1, "late_gain_lo": 0.05, "late_gain_hi": 0.15}


def frame(schema: dict[str, Any], *rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame([dict.fromkeys(schema) | row for row in rows], schema=schema)


def evidence(
    rise: dict[str, Any] | None = None,
    above: dict[str, float] | None = None,
    doubtful: int = 0,
    net: dict[str, Any] | None = None,
    **tables: pl.DataFrame,
) -> dict[str, pl.DataFrame]:
    """One category that rises, and lies above every control by 0.1 unless `above` sets another distance.

    Net of random directions it rises by 0.1 unless `net` says otherwise.
    """
    lies = dict.fromkeys((*MUST_BEAT, *SHOULD_BEAT), 0.1) | (above or {})
    controls = [PLACE | {"control_id": name, "above_control_lo": lo, "q": 0.01} for name, lo in lies.items()]
    own = PLACE | {"step": 1000, "p_best": 0.7, "own_share": 1.0}
    presence = [own | {"control_id": "none"}, own | {"control_id": "random_encoder", "own_share": 0.5}]
    none: dict[str, Any] = {
        "category_presence": frame(CATEGORY_PRESENCE.schema, *(_of(CATEGORY_PRESENCE.schema, row) for row in presence)),
        "emergence_over_space": frame(EMERGENCE_OVER_SPACE.schema),
        "feature_use": frame(FEATURE_USE.schema),
        "reactivation": frame(REACTIVATION.schema),
        "reactivation_mechanism": frame(REACTIVATION_MECHANISM.schema),
        "lineage_stability": frame(LINEAGE_STABILITY.schema),
        "emergence_over_scale": frame(EMERGENCE_OVER_SCALE.schema),
        "model_seeds": frame(MODEL_SEEDS.schema),
    }
    return dict(
        checkpoint_registry=pl.DataFrame(
            {"model": ["m"] * 3, "status": ["ok"] * (3 - doubtful) + ["outlier"] * doubtful, "made_here": [False] * 3}
        ),
        category_controls=frame(CATEGORY_CONTROLS.schema, *controls),
        emergence_over_time=frame(EMERGENCE_OVER_TIME.schema, RISE | (rise or {}), NET | (net or {})),
        **none | tables,
    )


def stated(found: Mapping[str, pl.DataFrame], kind: str = "emergence") -> dict[str, Any]:
    return claims(found, "subject", {}).filter(kind=kind).row(0, named=True)


def test_a_rise_above_all_controls_is_supported_and_names_unmeasured_controls() -> None:
    claim = stated(evidence())
    assert claim["grade"] == "B"
    assert claim["controls_failed"] == []
    assert claim["controls_missing"] == ["model_seed"]
    assert (claim["estimate"], claim["lo"], claim["hi"]) == pytest.approx((0.1, 0.05, 0.15))
    assert claim["statement"] == (
        "In m, the best latent separates texts of fish better after training than before, by more than random "
        "directions do (net growth 0.10 in AUROC, part of a rise of 0.20; layer 1, last checkpoints to step 1,000)."
    )


@pytest.mark.parametrize("control", MUST_BEAT)
def test_a_control_that_is_as_good_takes_the_claim_away(control: str) -> None:
    claim = stated(evidence(above={control: -0.01}))
    assert claim["grade"] == "reject"
    assert claim["controls_failed"] == [control]


@pytest.mark.parametrize("control", SHOULD_BEAT)
def test_other_controls_are_named_and_the_claim_stays(control: str) -> None:
    claim = stated(evidence(above={control: -0.01}))
    assert claim["grade"] == "B"
    assert claim["controls_failed"] == [control]


@pytest.mark.parametrize("control", MUST_BEAT)
def test_a_control_is_corrected_for_the_number_of_categories(control: str) -> None:
    found = evidence()
    q = pl.when(pl.col("control_id") == control).then(0.06).otherwise("q")
    claim = stated(found | {"category_controls": found["category_controls"].with_columns(q=q.cast(pl.Float64))})
    assert (claim["grade"], claim["controls_failed"]) == ("reject", [control])


def test_a_step_0_that_was_made_here_is_a_failed_control_and_keeps_from_grade_a() -> None:
    runs = [{"model": "m", "layer": 1}, {"model": "m-seed1", "layer": 0}]
    found = evidence(model_seeds=frame(MODEL_SEEDS.schema, {"model": "m", "control_id": "none", "runs": runs}))
    other = NET | {"model": "m-seed1", "layer": 0}
    time = pl.concat([found["emergence_over_time"], frame(EMERGENCE_OVER_TIME.schema, other)])
    found |= {"emergence_over_time": time}
    assert stated(found)["grade"] == "A"
    registry = found["checkpoint_registry"].with_columns(made_here=pl.Series([True, False, False]))
    claim = stated(found | {"checkpoint_registry": registry})
    assert claim["grade"] == "B"
    assert claim["controls_failed"] == ["step0_made_here"]
    another = registry.with_columns(model=pl.lit("m-seed1"))
    assert "step0_made_here" not in stated(found | {"checkpoint_registry": another})["controls_failed"]


def test_before_training_it_must_be_lower() -> None:
    claim = stated(evidence({"late_gain_lo": -0.01}))
    assert (claim["grade"], claim["controls_failed"]) == ("reject", ["step0"])


@pytest.mark.parametrize(
    ("change", "failed"),
    [
        ({"late_gain_lo": -0.01}, "net_rise"),
        ({"late_lo": -0.01}, "random_encoder"),
        ({"q_emerged": 0.2}, "fdr"),
        ({"n_seeds": 3, "n_seeds_agree": 1}, "sae_seed"),
    ],
)
def test_a_rise_that_random_directions_share_is_rejected(change: dict[str, Any], failed: str) -> None:
    claim = stated(evidence(net=change))
    assert (claim["grade"], claim["controls_failed"]) == ("reject", [failed])
    assert stated(evidence(net={"late_gain_lo": None}))["grade"] == "C"


def test_grade_a_needs_the_other_training_runs_of_the_model() -> None:
    """The one that is measured, and one beside it in which net presence grows, falls, or is not known."""
    runs = [{"model": "m", "layer": 1}, {"model": "m-seed1", "layer": 0}]
    seeds = frame(MODEL_SEEDS.schema, {"model": "m", "control_id": "none", "runs": runs})
    found = evidence(model_seeds=seeds)
    for passes, grade in ((True, "A"), (False, "B"), (None, "B")):
        other = NET | {"model": "m-seed1", "layer": 0, "passes_gate": passes}
        both = pl.concat([found["emergence_over_time"], frame(EMERGENCE_OVER_TIME.schema, other)])
        claim = stated(found | {"emergence_over_time": both})
        assert claim["grade"] == grade
        assert claim["controls_failed"] == (["model_seed"] if passes is False else [])
    assert stated(found)["controls_missing"] == ["model_seed"]


@pytest.mark.parametrize(
    ("in_saes", "in_random", "failed"),
    [(1.0, 0.5, []), (0.5, 0.0, ["own_latent"]), (1.0, 1.0, ["own_latent"]), (None, 0.5, [])],
)
def test_grade_a_needs_a_latent_of_its_own(in_saes: float | None, in_random: float, failed: list[str]) -> None:
    """One that two thirds of the SAE seeds have, and fewer random encoders."""
    share = pl.when(pl.col("control_id") == "none").then(pl.lit(in_saes)).otherwise(pl.lit(in_random))
    found = evidence()
    changed = found["category_presence"].with_columns(own_share=share.cast(pl.Float32))
    claim = stated(found | {"category_presence": changed})
    assert (claim["grade"], claim["controls_failed"]) == ("B", failed)
    assert ("own_latent" in claim["controls_missing"]) == (in_saes is None)


def test_words_and_the_dense_probe_are_findings_and_no_controls() -> None:
    claim = stated(evidence(above={"bow": -0.3, "text_wordshuffle": -0.01}))
    assert (claim["grade"], claim["controls_failed"]) == ("B", [])
    assert claim["findings"] == ["the bag of words separates it better", "no effect of word order is shown"]
    assert stated(evidence(above={"bow": 0.1, "text_wordshuffle": 0.1}))["findings"] == ["word order matters"]
    assert stated(evidence())["findings"] == []


def test_an_unmeasured_required_control_gives_grade_c() -> None:
    assert stated(evidence(net={"n_seeds": 1, "n_seeds_agree": 1}))["grade"] == "C"
    found = evidence()
    fewer = found["category_controls"].filter(pl.col("control_id") != "reinit_keep_embed")
    claim = stated(found | {"category_controls": fewer})
    assert claim["grade"] == "C"
    assert "reinit_keep_embed" in claim["controls_missing"]


def test_without_the_criteria_there_is_no_claim_and_no_time() -> None:
    found = claims(evidence({"passes_gate": False}), "subject", {})
    assert found["grade"].to_list() == ["reject"]
    assert found["kind"].to_list() == ["emergence"]


def test_the_time_of_a_rise_stands_or_falls_with_it() -> None:
    assert stated(evidence(), "timing")["grade"] == "B"
    assert stated(evidence({"is_dated": False}), "timing")["grade"] == "reject"
    assert stated(evidence({"is_dated": False}))["grade"] == "B"
    assert stated(evidence({"censor": "right"}), "timing")["controls_failed"] == ["complete_rise"]
    assert stated(evidence(above={"reinit_keep_embed": -0.1}), "timing")["grade"] == "reject"
    assert "interpolation" in stated(evidence({"half_step_interp": 500.0}), "timing")["controls_failed"]


def test_a_category_with_a_surface_form_confound_has_no_supported_claim() -> None:
    told = claims(evidence(), "subject", {("subject", "fish"): True}).filter(kind="emergence").row(0, named=True)
    assert (told["grade"], told["controls_failed"]) == ("reject", ["wording"])
    other = claims(
        evidence(), "subject", {("subject", "fish"): False, ("subject", "fowl"): True, ("area", "fish"): True}
    )
    assert other["grade"].to_list() == ["B", "B"]
    over_all = {"aggregate": "mean", "category": None}
    mean = evidence(over_all, net=over_all)
    controls = mean["category_controls"].with_columns(aggregate=pl.lit("mean"), category=pl.lit(None, pl.String))
    told = (
        claims(mean | {"category_controls": controls}, "subject", {("subject", "fowl"): True})
        .filter(kind="emergence")
        .row(0, named=True)
    )
    assert (told["grade"], told["controls_failed"]) == ("B", ["wording"])


def test_a_wording_that_is_not_seen_is_not_passed() -> None:
    told = claims(evidence(), "subject", {("subject", "fish"): None}).filter(kind="emergence").row(0, named=True)
    assert (told["grade"], told["controls_failed"]) == ("C", [])
    assert "wording" in told["controls_missing"]


USE = PLACE | {
    **{"step": 1000, "n_categories": 1, "rise_own": 0.05, "rise_other": 0.01, "q": 0.001, "n_seeds": 2},
    **{"use": 0.04, "use_lo": 0.02, "use_hi": 0.06, "above_control_lo": 0.01, "above_random_lo": 0.01},
    "n_seeds_agree": 2,
}


def used(change: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return stated(evidence(**more, feature_use=frame(FEATURE_USE.schema, USE | (change or {}))), "use")


def test_a_model_uses_a_latent_where_its_category_has_emerged() -> None:
    claim = used()
    assert (claim["grade"], claim["controls_missing"]) == ("B", ["model_seed"])
    assert claim["estimate"] == pytest.approx(0.04)
    assert claim["statement"] == (
        "In m, removing the best latent of fish raises the loss on its texts by more than the loss on other texts "
        "(0.0500 against 0.0100 nats per token; layer 1, step 1,000)."
    )
    assert used(above={"reinit_keep_embed": -0.1})["controls_failed"] == ["emergence"]
    assert used({"category": "fowl"})["grade"] == "C"
    mean = used({"category": None, "aggregate": "mean", "n_categories": 7})
    assert "removing the best latent of a subject (mean over 7 that rise) raises" in mean["statement"]


@pytest.mark.parametrize(
    ("change", "failed"),
    [
        ({"use_lo": -0.01}, []),
        ({"above_control_lo": -0.01}, ["equally_strong_latents"]),
        ({"above_random_lo": -0.01}, ["random_encoder"]),
        ({"q": 0.06}, ["fdr"]),
        ({"n_seeds_agree": 1}, ["sae_seed"]),
    ],
    ids=str,
)
def test_use_that_other_latents_share_is_rejected(change: dict[str, Any], failed: list[str]) -> None:
    claim = used(change)
    assert claim["grade"] == "reject"
    assert claim["controls_failed"] == failed
    assert claim["passes_gate"] == bool(failed)


def test_doubtful_checkpoints_are_named() -> None:
    assert stated(evidence(doubtful=1))["controls_failed"] == ["checkpoints"]


def test_lasting_latents_are_more_than_those_of_an_untrained_dictionary() -> None:
    row = {"model": "m", "axis": "step", "pairing": "other_seed", "population": "firing", "step_from": 500}
    row |= {"step_to": 1000, "s_raw_lo": 0.3, "s_ceiling": 0.4, "s_norm": 0.9, "s_norm_lo": 0.8, "s_norm_hi": 1.0}

    def told(change: dict[str, Any]) -> dict[str, Any]:
        return stated(evidence(lineage_stability=frame(LINEAGE_STABILITY.schema, row | change)), "stability")

    assert told({})["grade"] == "B"
    assert told({"s_raw_lo": 0.004})["controls_failed"] == ["untrained_dictionary"]
    # The other SAE seed of the cell finds too few latents for a ratio.
    low = told({"s_ceiling": 0.05, "s_norm": None, "s_norm_lo": None, "s_norm_hi": None})
    assert (low["grade"], low["controls_failed"]) == ("reject", ["seed_ceiling"])
    assert told({"s_ceiling": None, "s_norm": None})["controls_missing"] == ["seed_ceiling", "model_seed"]


def test_a_return_in_the_late_layers_needs_its_criteria_and_none_under_permuted_labels() -> None:
    row = PLACE | {"step": 1000, "control_id": "none", "verdict": "allocation", "passes_gate": True, "q": 0.01}
    row |= {"n_seeds": 2, "n_seeds_agree": 2, "ri": 0.5, "ri_lo": 0.2, "ri_hi": 0.8, "random_drop": 0.0}
    row |= {"dip_p": 0.01, "valley_depth": 0.5, "return_depth": 0.75}
    quiet = row | {"control_id": "label_shuffle", "passes_gate": False, "verdict": "none"}
    schema = REACTIVATION.schema
    claim = stated(evidence(reactivation=frame(schema, _of(schema, row), _of(schema, quiet))), "reactivation")
    assert claim["grade"] == "B"
    assert "shown for the SAEs, not for the dense probe" in claim["statement"]
    loud = quiet | {"passes_gate": True}
    claim = stated(evidence(reactivation=frame(schema, _of(schema, row), _of(schema, loud))), "reactivation")
    assert (claim["grade"], claim["controls_failed"]) == ("reject", ["label_shuffle", "dense"])
    assert "fades at 50 % of the depth and returns at 75 %" in claim["statement"]
    shared = row | {"verdict": "geometric"}
    claim = stated(evidence(reactivation=frame(schema, _of(schema, shared), _of(schema, quiet))), "reactivation")
    assert (claim["grade"], claim["controls_failed"]) == ("reject", ["random_encoder", "dense"])
    assert "random directions do the same" in claim["statement"]


def test_a_shape_over_sizes_needs_both_designs() -> None:
    row = {
        "condition": "final_step",
        "sae_design": "fixed_width",
        "control_id": "none",
        "aggregate": "none",
        "category_level": "subject",
        "category": "fish",
        "shape": "threshold",
        "n_lo": 1000,
        "n_hi": 5000,
    }
    shuffled = row | {"control_id": "label_shuffle", "shape": "absent"}
    agreed = stated(
        evidence(emergence_over_scale=frame(EMERGENCE_OVER_SCALE.schema, row | {"verdict": "threshold"}, shuffled)),
        "size",
    )
    assert agreed["grade"] == "B"
    assert "between 1,000 and 5,000 parameters" in agreed["statement"]
    alone = stated(
        evidence(emergence_over_scale=frame(EMERGENCE_OVER_SCALE.schema, row | {"verdict": "insufficient"}, shuffled)),
        "size",
    )
    assert alone["grade"] == "C"


def test_only_supported_categories_have_emerged() -> None:
    found = evidence()
    assert supported(claims(found, "subject", {}), "emergence").height == 1
    assert supported_histories(found["emergence_over_time"], claims(found, "subject", {}))["emerged"].to_list() == [
        True
    ]
    doubtful = evidence(above={"reinit_keep_embed": -0.1})
    histories = supported_histories(doubtful["emergence_over_time"], claims(doubtful, "subject", {}))
    assert histories["emerged"].to_list() == [False]
    assert histories["grade"].to_list() == ["reject"]
    assert not supported(claims(doubtful, "subject", {}), "emergence").height


def test_the_table_is_as_declared_and_a_grade_without_its_controls_is_found() -> None:
    table = claims(evidence(), "subject", {})
    assert table.schema == CLAIMS.schema
    assert table["claim_id"].to_list() == [1, 2]

    def failed(broken: pl.DataFrame) -> set[str]:
        found = validate(with_relations(broken, SPEC.relations).drop("inputs"), SPEC.checks)
        return {finding.check.name for finding in found if not finding.passed}

    assert failed(table) == set()
    assert failed(table.with_columns(grade=pl.lit("A"))) == {"grades_follow_from_controls"}
    assert failed(table.with_columns(passes_gate=pl.lit(False))) == {"grades_follow_from_controls"}
    assert failed(table.with_columns(claim_id=pl.lit(1, pl.Int32))) == {"keys_are_unique"}
    assert failed(table.with_columns(grade=pl.lit("D"))) == {"values_are_in_range"}


def _of(schema: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name in schema}


@pytest.mark.parametrize(
    ("low", "words", "failed", "grade"),
    [
        (1.0, "in layer 5 (of layers 0 to 5)", [], "B"),
        (2 / 3, "in one of layers 3 to 5 (of layers 0 to 5)", ["one_layer"], "B"),
        # More than half of the layers are no place.
        (1 / 2, "in one of layers 2 to 5 (of layers 0 to 5)", ["one_layer"], "reject"),
    ],
)
def test_a_claim_places_a_peak_within_its_interval(low: float, words: str, failed: list[str], grade: str) -> None:
    peak = {
        "model": "m",
        "step": 1000,
        "n_layers": 6,
        "category_level": "subject",
        "aggregate": "mean",
        "control_id": "none",
        "peak_layer": 5,
        "peak_depth": 1.0,
        "peak_depth_lo": low,
        "peak_depth_hi": 1.0,
        "max_gain_lo": 0.1,
        "n_modes": 1,
    }
    space = frame(EMERGENCE_OVER_SPACE.schema, peak, peak | {"control_id": "label_shuffle", "max_gain_lo": -0.01})
    claim = stated(evidence(emergence_over_space=space), "depth")
    assert words in claim["statement"]
    assert claim["controls_failed"] == failed
    # From one training run: no grade A, whichever other controls pass.
    assert (claim["grade"], claim["controls_missing"]) == (grade, ["model_seed"])


def test_what_speaks_against_a_statement_names_its_gate_first() -> None:
    assert speaks_against({"passes_gate": True, "controls_failed": ["bow"]}) == ["bow"]
    assert speaks_against({"passes_gate": False, "controls_failed": ["bow"]}) == ["gate", "bow"]
    assert speaks_against({"passes_gate": None, "controls_failed": []}) == ["gate"]


def test_numbers_are_written_as_they_are_read() -> None:
    assert [format_number(value) for value in (0.22413, 1.0, 613.7, 1990.4, -1234.0)] == [
        "0.224",
        "1",
        "614",
        "1,990",
        "-1,234",
    ]
