"""Names of revisions are read as steps by the pattern alone."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emergence_assets.checkpoints.sources.revision import RevisionPattern
from emergence_assets.study.strict import MOST
from resources.errors import EmergenceError

STEP = st.integers(0, 10**12 - 1)
LITERAL = st.text("abcz-_.+()[]*?^$\\0123 ", max_size=6)


@pytest.mark.parametrize(
    ("pattern", "revision", "step"),
    [
        ("step{step}", "step512", 512),
        ("step{step}", "step0", 0),
        ("ckpt_{step}", "ckpt_007", 7),
        ("global_step{step}", "global_step1000", 1000),
        ("stage1-step{step}-tokens{any}B", "stage1-step1000-tokens5B", 1000),
        ("stage1-step{step}-tokens{any}B", "stage1-step1000-tokensB", 1000),
        ("{any}-{step}", "a-b-12", 12),
        ("{step}", "12", 12),
    ],
)
def test_patterns_of_published_families_are_read(pattern: str, revision: str, step: int) -> None:
    assert RevisionPattern(pattern).step_of(revision) == step


@pytest.mark.parametrize(
    ("pattern", "revision"),
    [
        ("step{step}", "main"),
        ("step{step}", "step"),
        ("step{step}", "step-1"),
        ("step{step}", "step1.5"),
        ("step{step}", "step12 "),
        ("step{step}", "step12\n"),
        ("step{step}", "xstep12"),
        ("step{step}", "step\u0661\u0662"),
        ("step{step}", "step" + "9" * 13),
        ("ckpt.{step}", "ckptx12"),
        ("stage1-step{step}-tokens{any}B", "stage2-step1000-tokens5B"),
        ("stage1-step{step}-tokens{any}B", "stage1-step1000-tokens5B-x"),
        ("step{step}-{any}", "step1-a/b"),
    ],
)
def test_other_names_are_no_steps(pattern: str, revision: str) -> None:
    assert RevisionPattern(pattern).step_of(revision) is None


@given(LITERAL, LITERAL, STEP, st.integers(0, 3))
def test_the_step_of_a_name_made_from_a_pattern_is_its_step(before: str, after: str, step: int, zeros: int) -> None:
    # Digits beside the step would become part of it.
    before, after = before.rstrip("0123456789"), after.lstrip("0123456789")
    written = str(step).zfill(min(12, len(str(step)) + zeros))
    assert RevisionPattern(f"{before}{{step}}{after}").step_of(f"{before}{written}{after}") == step


@given(st.lists(st.text("step0123456789/", max_size=8)))
def test_every_step_has_the_only_name_that_is_read_as_it(revisions: list[str]) -> None:
    pattern = RevisionPattern("step{step}")
    unique = {pattern.step_of(name): name for name in revisions if pattern.step_of(name) is not None}
    found = pattern.steps(unique.values())
    assert found == unique
    assert list(found) == sorted(found)


def test_two_names_of_one_step_are_refused_by_name() -> None:
    with pytest.raises(EmergenceError, match="step01 and step1 are both step 1") as caught:
        RevisionPattern("step{step}").steps(["step1", "main", "step01"], where="someone/gloss-tiny")
    assert caught.value.where == "someone/gloss-tiny"
    assert "narrower" in caught.value.remedy


def test_a_step_that_no_table_can_hold_is_refused_by_name() -> None:
    assert RevisionPattern("step{step}").steps([f"step{MOST}"]) == {MOST: f"step{MOST}"}
    for pattern in (RevisionPattern("step{step}", 1), RevisionPattern("step{step}")):
        name = f"step{MOST + 1 - pattern.offset}"
        with pytest.raises(EmergenceError, match=f"{name} is step {MOST + 1}, larger than {MOST}") as caught:
            pattern.steps(["step0", name], where="someone/gloss-tiny")
        assert caught.value.where == "someone/gloss-tiny"
        assert "narrower" in caught.value.remedy


@pytest.mark.parametrize("pattern", ["", "step", "{any}", "{step}{step}", "{step}-{any}-{step}"])
def test_a_pattern_names_the_step_once(pattern: str) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(pattern))):
        RevisionPattern(pattern)
