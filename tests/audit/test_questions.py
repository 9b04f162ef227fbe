"""An audit accepts one question at a time; contradictory options are refused before anything is read."""

import pytest
from click.testing import CliRunner

from emergence_assets.cli.audit import audit
from resources.errors import EmergenceError


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "No result to trace"),
        (["--reproduce"], "No result to trace"),
        (["--verify", "claims/1"], "--verify is about everything"),
        (["--diff", ".", ".", "claims/1"], "--diff is about everything"),
        (["--verify", "--diff", ".", "."], "--verify and --diff are different questions"),
        (["--verify", "--reproduce", "claims/1"], "--verify and --reproduce are different questions"),
        (["claims/1", "--into", "again"], "--into is where --reproduce keeps"),
    ],
)
def test_contradictory_questions_are_refused(arguments: list[str], said: str) -> None:
    refused = CliRunner().invoke(audit, arguments)
    assert isinstance(refused.exception, EmergenceError)
    assert said in str(refused.exception)
    assert refused.exception.remedy
