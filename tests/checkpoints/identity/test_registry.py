"""The table of all checkpoints: clean, faulty and missing steps, and the rules that each fails."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from emergence_assets.checkpoints.checks import REGISTRY_CHECKS
from emergence_assets.checkpoints.identity.measurement import Measurement
from emergence_assets.checkpoints.identity.registry import registry_frame
from emergence_assets.checkpoints.identity.trajectory import trajectory
from emergence_assets.checkpoints.identity.validation import validate_checkpoints
from emergence_assets.checkpoints.table import LOSS_MAY_RISE, REGISTRY, RULES, rule_frame
from emergence_assets.plan.timeline import TimelineEntry
from resources.tables.parquet import read_table, write_table
from tests.family import STEPS, other_architecture, shard, trained_step_0, with_nan
from tests.family import foreign_shard as plant_foreign_shard
from tests.measured import Measured, measured

MODEL, TOKENS_PER_STEP = "gloss-tiny", 64


def entries_of(found: Measured, admitted: tuple[int, ...] = ()) -> list[TimelineEntry]:
    return [
        TimelineEntry(
            step, said.status, said.reason, said.failed, said.dup_of_step, f"step{step}", "here", identity="a" * 32
        )
        for step, said in validate_checkpoints(found, admitted).items()
    ]


def registry_of(found: Measured, *more: TimelineEntry, admitted: tuple[int, ...] = ()) -> pl.DataFrame:
    measurements = {step: one for step, one in found.items() if isinstance(one, Measurement)}
    return registry_frame(MODEL, TOKENS_PER_STEP, [*entries_of(found, admitted), *more], measurements)


def failed_rules(registry: pl.DataFrame) -> dict[int, set[str]]:
    rows = rule_frame(registry).iter_rows(named=True)
    return {
        row["step"]: failed for row in rows if (failed := {rule for rule in (*RULES, "loss_falls") if not row[rule]})
    }


def test_a_clean_run_has_a_full_row_for_every_step_and_fails_no_rule(clean: dict[int, Measurement]) -> None:
    registry = registry_of(dict(clean))
    assert registry.schema == REGISTRY.schema
    assert registry["step"].to_list() == list(STEPS)
    assert registry["tokens_seen"].to_list() == [step * TOKENS_PER_STEP for step in STEPS]
    filled = [column.name for column in REGISTRY.columns if column.name not in ("dup_of_step", "cos_to_prev")]
    assert registry.select(filled).null_count().sum_horizontal().item() == 0
    assert registry["on_time_axis"].all()
    assert registry["dup_of_step"].null_count() == len(STEPS)
    assert failed_rules(registry) == {}


def test_values_lie_in_the_declared_ranges_and_survive_the_file(clean: dict[int, Measurement], tmp_path: Path) -> None:
    registry = registry_of({**clean, 4: clean[64]})
    for column in REGISTRY.columns:
        values = registry[column.name].drop_nulls()
        if column.minimum is not None:
            assert values.min() >= column.minimum, column.name
        if column.maximum is not None:
            assert values.max() <= column.maximum, column.name
        assert not column.one_of or set(values) <= set(column.one_of)
        assert column.nullable or registry[column.name].null_count() == 0, column.name
    write_table(tmp_path / "registry.parquet", registry, REGISTRY, "{}")
    assert read_table(tmp_path / "registry.parquet", REGISTRY).equals(registry)


def test_cosines_are_those_of_the_trajectory(clean: dict[int, Measurement]) -> None:
    registry, cosines_ss = registry_of(dict(clean)), trajectory(clean).cosines_ss.astype(np.float32)
    assert np.array_equal(np.array(registry["cosines"].to_list(), np.float32), cosines_ss)
    assert registry["cosine_steps"].to_list() == [list(STEPS)] * len(STEPS)
    assert registry["cos_to_step0"].to_list() == cosines_ss[0].tolist()
    assert registry["cos_to_last"].to_list() == cosines_ss[-1].tolist()
    assert registry["cos_to_prev"].to_list() == [None, *np.diag(cosines_ss, 1).tolist()]


def test_norms_and_facts_are_those_that_were_measured(clean: dict[int, Measurement]) -> None:
    row = registry_of(dict(clean)).row(3, named=True)
    found = clean[STEPS[3]]
    assert row["weight_norm"] == pytest.approx(np.linalg.norm(found.group_norms), rel=1e-6)
    assert row["group_norms"] == pytest.approx(found.group_norms, rel=1e-6)
    assert (tuple(row["groups"]), tuple(row["group_hashes"])) == (found.groups, found.group_hashes)
    for name in ("weights_sha256", "architecture", "n_layers", "d_model", "n_params", "n_params_nonemb"):
        assert row[name] == getattr(found.facts, name)
    assert row["loss"] == pytest.approx(found.loss, rel=1e-6)


def test_unmeasured_values_are_null_and_fail_no_rule(clean: dict[int, Measurement]) -> None:
    missing = TimelineEntry(128, "missing", "the source has no such step")
    registry = registry_of(dict(clean), missing)
    row = registry.filter(step=128).row(0, named=True)
    nullable = [column.name for column in REGISTRY.columns if column.nullable]
    assert all(row[name] is None for name in nullable)
    assert (row["cosines"], row["cosine_steps"], row["groups"], row["failed"]) == ([], [], [], [])
    assert (row["status"], row["on_time_axis"]) == ("missing", False)
    assert 128 not in failed_rules(registry)
    assert rule_frame(registry).filter(step=128)["loss_falls"].item() is True


def test_each_planted_fault_fails_its_own_rule_and_no_other(
    clean: dict[int, Measurement], other_run: dict[int, Measurement], family_copy: Path
) -> None:
    shard(family_copy, MODEL, 16)
    served = {
        **clean,
        0: measured(trained_step_0(family_copy, MODEL)),
        1: measured(with_nan(family_copy, MODEL, 1)),
        2: measured(other_architecture(family_copy, MODEL, 2)),
        4: clean[64],
        8: other_run[8],
        16: measured(plant_foreign_shard(family_copy, MODEL, 16, 64)),
    }
    registry = registry_of(served)
    assert failed_rules(registry) == {
        0: {"step_0_is_untrained"},
        1: {"files_are_whole"},
        2: {"architecture_is_constant"},
        4: {"weights_are_unique"},
        8: {"steps_lie_on_one_trajectory"},
        16: {"weights_are_unique"},
    }
    assert registry.filter(~pl.col("on_time_axis"))["step"].to_list() == [0, 1, 2, 4, 8, 16]
    # A checkpoint of another architecture is compared with no other.
    other = registry.filter(step=2).row(0, named=True)
    assert (other["cosines"], other["cos_to_last"], other["architecture"]) == ([], None, "GPT2LMHeadModel")
    assert all(2 not in steps for steps in registry["cosine_steps"])


def test_an_admitted_step_is_on_the_axis_and_still_fails_its_rule(clean: dict[int, Measurement]) -> None:
    registry = registry_of({**clean, 4: clean[64]}, admitted=(4,))
    assert registry.filter(step=4)["on_time_axis"].item()
    assert registry.filter(step=4)["dup_of_step"].item() == 64
    # Its loss is that of the last step, and step 8 has the expected higher loss.
    assert failed_rules(registry) == {4: {"weights_are_unique"}, 8: {"loss_falls"}, 16: {"loss_falls"}}


@pytest.mark.parametrize(("rise", "falls"), [(LOSS_MAY_RISE - 0.01, True), (LOSS_MAY_RISE + 0.01, False)])
def test_a_loss_may_rise_a_little_over_the_lowest_before_it(
    clean: dict[int, Measurement], rise: float, falls: bool
) -> None:
    registry = registry_of(dict(clean))
    lowest = registry.filter(step=16)["loss"].item()
    risen = registry.with_columns(loss=pl.when(pl.col("step") == 64).then(lowest + rise).otherwise("loss"))
    dipped = risen.with_columns(loss=pl.when(pl.col("step") == 32).then(lowest).otherwise("loss"))
    assert rule_frame(dipped).filter(step=64)["loss_falls"].item() is falls
    assert rule_frame(dipped).filter(pl.col("step") < 64)["loss_falls"].all()


def test_a_loss_is_compared_within_its_model_and_not_with_steps_that_are_left_out(
    clean: dict[int, Measurement],
) -> None:
    registry = registry_of({**clean, 4: clean[64]})
    assert failed_rules(registry) == {4: {"weights_are_unique"}}  # its low loss is no reference for step 8
    lower = registry.with_columns(model=pl.lit("another"), loss=pl.col("loss") - 5)
    both = rule_frame(pl.concat([lower, registry]))
    assert both.height == 2 * len(STEPS)
    assert both["loss_falls"].all()


def test_without_losses_none_rises(clean: dict[int, Measurement]) -> None:
    registry = registry_of(dict(clean)).with_columns(loss=pl.lit(None, pl.Float32))
    assert rule_frame(registry)["loss_falls"].all()


def test_every_rule_has_a_check() -> None:
    assert {check.name for check in REGISTRY_CHECKS} >= {*RULES, "loss_falls"}
