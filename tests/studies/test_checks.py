"""Every check of every stage passes on good data, and fails when its data is broken in one named way."""

from collections.abc import Sequence
from typing import Any

import polars as pl
import pytest

from emergence_assets.activations.checks import ACTIVATION_CHECKS
from emergence_assets.checkpoints.checks import CHECKPOINT_CHECKS, REGISTRY_CHECKS, TRAINING_CHECKS
from emergence_assets.checkpoints.table import RULES
from emergence_assets.emergence.specs import SPECS
from emergence_assets.features.spec import LATENT_STATISTICS
from emergence_assets.plan.table_spec import TableSpec
from emergence_assets.report.checks import REPORT_CHECKS
from emergence_assets.saes.checks import SAE_CHECKS
from resources.tables.check import Check
from resources.tables.expectations import validate

Row = dict[str, Any]
NAN = float("nan")

TRAINING: Row = {"final_validation_loss": 4.4, "initial_validation_loss": 7.6}
CHECKPOINT: Row = {"status": "ok", "n_params_nonemb": 400, "weights_bytes": 1800}
REGISTRY: Row = {"model": "gloss", "step": 0, "status": "ok", "loss_falls": True} | dict.fromkeys(RULES, True)
ACTIVATIONS: Row = {
    "nan_count": 0,
    "inf_count": 0,
    "d_model": 16,
    "expected_d_model": 16,
    "n_rows": 9,
    "n_probes": 7,
} | {
    "expected_n_rows": 9,
    "expected_n_probes": 7,
    "tokens_fingerprint": "9f",
    "expected_tokens": "9f",
    "variance": 1.5,
    "constant_dimensions": 0,
    "repeated_share": 0.02,
    "step_jump": 0.06,
    "layer_jump": 0.0,
}
SAE: Row = {
    "fvu": 0.2,
    "l0": 4.0,
    "l0_limit": 4,
    "l0_least": 3.6,
    "l0_wanted": 6.0,
    "dead_frac": 0.1,
    "twice_k": 8,
    "dims_99": 9.5,
} | {
    "decoder_norm_off": 1e-7,
    "equal_seeds": 0,
}
STATISTICS: Row = {"mean_shuffled_auroc": 0.501, "mean_best_auroc": 0.7, "mean_dense_auroc": 0.8} | {
    "categories": 49,
    "repeated_keys": 0,
    "missing_values": 0,
    "values_out_of_range": 0,
    "share_categorical_by_chance": 0.0,
}
REPORT: Row = {"p_first": 0.55, "p_last": 0.77, "rise_lo": 0.21, "rise_hi": 0.23, "p_shuffle": 0.5}
DECLARED: Row = {"repeated_keys": 0, "missing_values": 0, "values_out_of_range": 0}
FEATURES: Row = DECLARED | {"not_compared": 0, "q_below_p": 0}
CHECKS_OF = {spec.name: spec.checks for spec in SPECS}
LINEAGES: dict[str, Row] = {
    "feature_lineage": {"accepted_below_a_null": 0, "accepted_not_mutual": 0, "edges_of_unknown_latents": 0},
    "lineage_nodes": {"latents_of_two_lineages": 0, "ends_before_it_begins": 0},
    "lineage_stability": {"ratios_over_a_low_ceiling": 0},
    "latent_carry": {"joint_above_either": 0},
    "size_lineage": {
        "accepted_below_a_null": 0,
        "accepted_not_mutual": 0,
        "edges_of_unknown_latents": 0,
        "ratios_over_a_low_ceiling": 0,
    },
}

STAGES: dict[str, tuple[Sequence[Check], Row, Row]] = {
    "training": (TRAINING_CHECKS, TRAINING, TRAINING),
    "checkpoint": (CHECKPOINT_CHECKS, CHECKPOINT, CHECKPOINT | {"status": "admitted"}),
    "registry": (REGISTRY_CHECKS, REGISTRY, REGISTRY | {"step": 1}),
    "activations": (ACTIVATION_CHECKS, ACTIVATIONS, ACTIVATIONS),
    "sae": (SAE_CHECKS, SAE, SAE),
    "statistics": (LATENT_STATISTICS.checks, STATISTICS, STATISTICS),
    "features": (CHECKS_OF["categorical_features"], FEATURES, FEATURES),
    "report": (REPORT_CHECKS, REPORT, REPORT),
    **{name: (CHECKS_OF[name], DECLARED | row, DECLARED | row) for name, row in LINEAGES.items()},
}
BROKEN: list[tuple[str, str, Row]] = [
    ("training", "training_lowers_the_loss", {"final_validation_loss": 7.7}),
    ("training", "training_lowers_the_loss", {"final_validation_loss": NAN}),
    ("checkpoint", "checkpoint_is_what_it_claims_to_be", {"status": "outlier"}),
    ("checkpoint", "checkpoint_is_what_it_claims_to_be", {"status": None}),
    ("checkpoint", "checkpoint_has_parameters", {"n_params_nonemb": 0}),
    ("checkpoint", "checkpoint_has_parameters", {"weights_bytes": 0}),
    ("registry", "keys_are_unique", {"step": 0}),
    ("registry", "loss_falls", {"loss_falls": False}),
    *[("registry", rule, {rule: False}) for rule in RULES],
    *[("registry", rule, {rule: None}) for rule in RULES],
    ("activations", "activations_are_finite", {"nan_count": 1}),
    ("activations", "activations_are_finite", {"inf_count": 2}),
    ("activations", "shapes_are_as_declared", {"d_model": 8}),
    ("activations", "shapes_are_as_declared", {"n_rows": 8}),
    ("activations", "shapes_are_as_declared", {"n_probes": 8}),
    ("activations", "shapes_are_as_declared", {"expected_n_rows": None}),
    ("activations", "tokens_are_the_shared_ones", {"tokens_fingerprint": "8e"}),
    ("activations", "rows_differ", {"repeated_share": 0.5}),
    ("activations", "norms_go_along_with_their_neighbours", {"step_jump": 0.7}),
    ("activations", "norms_go_along_with_their_neighbours", {"layer_jump": 0.6}),
    ("activations", "activations_vary", {"variance": 0.0}),
    ("activations", "no_dimension_is_constant", {"constant_dimensions": 1}),
    ("sae", "sae_beats_mean_baseline", {"fvu": 1.0}),
    ("sae", "sae_beats_mean_baseline", {"fvu": 0.0}),
    ("sae", "sae_beats_mean_baseline", {"fvu": NAN}),
    ("sae", "l0_is_at_most_its_limit", {"l0": 4.5}),
    ("sae", "sparsity_is_near_its_aim", {"l0": 6.5, "l0_limit": 512}),
    ("sae", "sparsity_is_near_its_aim", {"l0": 2.0}),
    ("sae", "rows_leave_room_for_sparsity", {"dims_99": 7.5}),
    ("sae", "decoder_directions_have_unit_length", {"decoder_norm_off": 0.1}),
    ("sae", "seeds_differ", {"equal_seeds": 1}),
    ("sae", "most_latents_are_alive", {"dead_frac": 0.6}),
    ("statistics", "shuffled_labels_are_at_chance", {"mean_shuffled_auroc": 0.56}),
    ("statistics", "shuffled_labels_are_at_chance", {"mean_shuffled_auroc": NAN}),
    ("statistics", "auroc_is_a_probability", {"mean_best_auroc": 1.2}),
    ("statistics", "auroc_is_a_probability", {"mean_dense_auroc": NAN}),
    ("statistics", "keys_are_unique", {"repeated_keys": 2}),
    ("statistics", "values_are_as_declared", {"missing_values": 1}),
    ("statistics", "values_are_as_declared", {"values_out_of_range": 1}),
    ("statistics", "categories_are_measured", {"categories": 1}),
    ("statistics", "no_latent_is_categorical_by_chance", {"share_categorical_by_chance": 0.02}),
    ("statistics", "no_latent_is_categorical_by_chance", {"share_categorical_by_chance": NAN}),
    ("features", "keys_are_unique", {"repeated_keys": 1}),
    ("features", "values_are_as_declared", {"missing_values": 1}),
    ("features", "values_are_as_declared", {"values_out_of_range": 1}),
    ("features", "latents_are_compared_with_step_0", {"not_compared": 3}),
    ("features", "the_study_corrects_at_least_as_much_as_a_test", {"q_below_p": 1}),
    ("report", "headline_is_measured", {"p_last": NAN}),
    ("report", "headline_is_measured", {"rise_lo": 0.24}),
    ("report", "shuffled_labels_are_at_chance", {"p_shuffle": 0.53}),
    *[
        (table, check, {column: 1})
        for table in LINEAGES
        for check, columns in (
            ("keys_are_unique", ("repeated_keys",)),
            ("values_are_as_declared", ("missing_values", "values_out_of_range")),
            (CHECKS_OF[table][-1].name, tuple(LINEAGES[table])),
        )
        for column in columns
    ],
]


def failed(checks: Sequence[Check], frame: pl.DataFrame | list[Row]) -> set[str]:
    return {finding.check.name for finding in validate(pl.DataFrame(frame), checks) if not finding.passed}


@pytest.mark.parametrize("stage", STAGES)
def test_good_data_passes(stage: str) -> None:
    checks, first, second = STAGES[stage]
    assert failed(checks, [first, second]) == set()


@pytest.mark.parametrize(("stage", "check", "damage"), BROKEN, ids=lambda value: str(value))
def test_data_broken_in_one_way_fails_exactly_its_check(stage: str, check: str, damage: Row) -> None:
    checks, first, second = STAGES[stage]
    assert failed(checks, [first, second | damage]) == {check}


def test_every_check_has_data_that_breaks_it() -> None:
    declared = {(stage, check.name) for stage, (checks, _, _) in STAGES.items() for check in checks}
    assert declared == {(stage, check) for stage, check, _ in BROKEN}


@pytest.mark.parametrize("spec", [spec for spec in SPECS if spec.frame], ids=lambda spec: spec.name)
def test_an_empty_table_fails_all_its_checks(spec: TableSpec) -> None:
    assert failed(spec.checks, spec.table.schema.to_frame()) == {check.name for check in spec.checks}
