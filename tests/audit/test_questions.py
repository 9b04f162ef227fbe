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
        (["--verify", "claims/1"], "--verify takes no address"),
        (["--diff", ".", ".", "claims/1"], "--diff takes no address"),
        (["--verify", "--diff", ".", "."], "--verify and --diff cannot be combined"),
        (["--verify", "--reproduce", "claims/1"], "--verify and --reproduce cannot be combined"),
        (["claims/1", "--into", "again"], "--into needs --reproduce"),
    ],
)
def test_contradictory_questions_are_refused(arguments: list[str], said: str) -> None:
    refused = CliRunner().invoke(audit, arguments)
    assert isinstance(refused.exception, EmergenceError)
    assert said in str(refused.exception)
    assert refused.exception.remedy
