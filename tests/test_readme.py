"""What the README tells people to type exists."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from emergence_assets.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TYPED = [
    line.split("#")[0].strip()
    for block in re.findall(r"```\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.startswith(("make ", "emergence "))
]


def test_there_are_commands_to_check() -> None:
    assert {command.split()[0] for command in TYPED} == {"make", "emergence"}


TARGETS = {command.split()[1] for command in TYPED if command.startswith("make")} | set(
    re.findall(r"`make ([a-z-]+)", README)
)


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_make_targets_exist(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("command", [command for command in TYPED if command.startswith("emergence")])
def test_commands_exist(command: str) -> None:
    # --study is handed on in the environment: the runner puts these back afterwards.
    runner = CliRunner(env={"EMERGENCE_STUDY": None, "EMERGENCE_DATA": None})
    result = runner.invoke(main, [*shlex.split(command)[1:], "--help"])
    assert result.exit_code == 0, result.output


def test_files_that_are_named_exist() -> None:
    for name in re.findall(r"`((?:docs|emergence_assets|tests)/[\w./]+)`", README):
        assert (ROOT / name).exists(), name
    for picture in re.findall(r"!\[.*?\]\((.*?)\)", README):
        assert (ROOT / picture).exists(), picture
