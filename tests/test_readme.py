"""Commands and names in the README exist."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from emergence_assets.cli.main import main
from emergence_assets.study.load import load_study
from tests.conftest import TINY

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TYPED = [
    line.split("#")[0].strip()
    for block in re.findall(r"```\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.startswith(("make ", "emergence "))
]


STUDIES = [
    block
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
    for block in re.findall(r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
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
    # --study is passed on in the environment: the runner restores it afterwards.
    runner = CliRunner(env={"EMERGENCE_STUDY": None, "EMERGENCE_DATA": None})
    result = runner.invoke(main, [*shlex.split(command)[1:], "--help"])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("block", STUDIES, ids=range(len(STUDIES)))
def test_parts_of_study_files_are_accepted(block: str, tmp_path: Path) -> None:
    rest = {"name": "shown", "probe_set": {"source": "wordnet"}, "activations": {"training_texts": 100}}
    rest |= {"sae": {"n_latents": 64, "k": 4, "n_steps": 10}}
    shown = yaml.safe_load(block)
    if "family" not in shown:
        rest |= {"family": {"source": "hub", "preset": "pythia", "models": ["pythia-70m"]}, "steps": [0, 1]}
    path = tmp_path / "shown.yaml"
    missing = {key: rest[key] for key in rest.keys() - shown.keys()}
    path.write_text(block + (yaml.safe_dump(missing) if missing else ""), encoding="utf-8")
    assert load_study(str(path)).models


def test_files_that_are_named_exist() -> None:
    for name in re.findall(r"`((?:docs|emergence_assets|tests)/[\w./]+)`", README):
        assert (ROOT / name).exists(), name
    for picture in re.findall(r"!\[.*?\]\((.*?)\)", README):
        assert (ROOT / picture).exists(), picture


@pytest.mark.slow
def test_python_that_reads_a_result_runs(finished_study: Path, tmp_path: Path) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (tmp_path / "data").symlink_to(finished_study)
    program = program.replace('open_study("default")', f"open_study({str(TINY)!r})")
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    assert "controls_failed" in found.stdout
