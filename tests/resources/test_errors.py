"""The exception for problems that a user can solve: its text, and its transfer between processes."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.errors import MAX_CHARACTERS, BrokenCheckpoint, EmergenceError, SourceUnreachable


@pytest.mark.parametrize("kind", [EmergenceError, BrokenCheckpoint, SourceUnreachable])
@given(st.text(), st.text(), st.text())
def test_an_error_survives_pickling_with_its_kind_and_parts(
    kind: type[EmergenceError], what: str, where: str, remedy: str
) -> None:
    error = pickle.loads(pickle.dumps(kind(what, where=where, remedy=remedy)))
    assert (type(error), error.what, error.where, error.remedy) == (kind, what, where, remedy)


def test_the_text_says_what_where_and_what_to_do() -> None:
    text = str(EmergenceError("The disk is full.", where="/data/x.h5", remedy="free some space"))
    assert text == "The disk is full.\n  where: /data/x.h5\n  what to do: free some space"


def test_a_value_from_outside_does_not_fill_the_terminal() -> None:
    error = EmergenceError(f"{'x' * 10**7} is no name.", where="/data/x.h5", remedy="rename it")
    assert len(str(error)) < MAX_CHARACTERS + 100
    assert str(error).endswith("x…\n  where: /data/x.h5\n  what to do: rename it")


def test_parts_that_are_not_given_are_not_shown() -> None:
    assert str(EmergenceError("The disk is full.")) == "The disk is full."
    assert str(EmergenceError("The disk is full.", remedy="free some")) == "The disk is full.\n  what to do: free some"
