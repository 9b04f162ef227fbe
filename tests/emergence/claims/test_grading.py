"""Grades follow from the results of the controls, and never improve when a result gets worse."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from emergence_assets.emergence.claims.grading import GRADES, Control, grade

controls = st.lists(
    st.builds(Control, st.just("control"), st.sampled_from([True, False, None]), st.booleans()), max_size=6
)


def test_a_statement_that_its_own_numbers_do_not_allow_is_rejected_whatever_its_controls_say() -> None:
    assert grade(False, [Control("step0", True)]) == "reject"
    assert grade(None, [Control("step0", True)]) == "reject"


def test_a_failed_control_that_must_pass_rejects() -> None:
    assert grade(True, [Control("step0", True), Control("label_shuffle", False)]) == "reject"


def test_a_control_that_must_pass_and_was_not_measured_leaves_c() -> None:
    assert grade(True, [Control("step0", True), Control("reinit_keep_embed", None)]) == "C"


def test_other_controls_decide_between_a_and_b() -> None:
    must = Control("step0", True)
    assert grade(True, [must, Control("bow", False, must=False)]) == "B"
    assert grade(True, [must, Control("bow", None, must=False)]) == "B"
    assert grade(True, [must, Control("bow", True, must=False)]) == "A"


@given(controls, st.data())
def test_no_grade_improves_when_a_control_fails(evidence: Sequence[Control], data: st.DataObject) -> None:
    if not evidence:
        return
    at = data.draw(st.integers(0, len(evidence) - 1))
    worse = [Control(one.name, False, one.must) if position == at else one for position, one in enumerate(evidence)]
    assert GRADES.index(grade(True, worse)) >= GRADES.index(grade(True, evidence))
