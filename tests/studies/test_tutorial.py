"""The tutorial works as it is written: its files, commands and programs in their order, without a model hub."""

import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.running_explorer import running_explorer

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("tutorial")]  # one process follows the page, once
PAGE = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text("utf-8")
SERVER = "emergence explore\n"
BLOCKS = [
    (language, block)
    for language, block in re.findall(r"```(\w+)\n(.*?)```", PAGE, re.DOTALL)
    if language != "text" and block != SERVER
]
SHOWN = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)


def typed() -> str:
    """Return one script of all blocks: a block that begins with a file name is that file, other Python is run."""
    lines = ["set -euo pipefail"]
    for language, block in BLOCKS:
        if named := re.match(r"# ([\w-]+\.\w+)\n", block):
            lines.append(f"cat > {named[1]} <<'END'\n{block}END")
        elif language == "python":
            lines.append(f"python - <<'END'\n{block}END")
        else:
            assert language == "bash"
            lines.append(block)
    return "\n".join(lines)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder in which the tutorial was followed; `output.txt` has what it printed."""
    folder = tmp_path_factory.mktemp("tutorial")
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("DAGSTER_", "EMERGENCE_"))}
    done = subprocess.run(
        ["bash", "-c", typed()],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
        env=inherited | {"PATH": programs, "COLUMNS": "100", "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (folder / "output.txt").write_text(done.stdout, encoding="utf-8")
    return folder


def test_what_the_page_shows_is_printed(folder: Path) -> None:
    assert len(SHOWN) == 5
    printed = [
        re.sub(r"[\d\W_]+", " ", line).strip() for line in (folder / "output.txt").read_text("utf-8").splitlines()
    ]
    assert "step0_made_here" in (folder / "output.txt").read_text("utf-8"), "claims name the step 0 that was made here"
    for block in SHOWN:
        assert re.sub(r"[\d\W_]+", " ", block.splitlines()[0]).strip() in printed, block


def test_the_report_and_the_explorer_are_there(folder: Path) -> None:
    (report,) = re.findall(r"^report: (.*)$", (folder / "output.txt").read_text("utf-8"), re.MULTILINE)
    assert "my-model" in Path(report).read_text("utf-8")
    assert SERVER in PAGE
    with (
        running_explorer(folder / "data", folder / "my-study.yaml") as address,
        urllib.request.urlopen(address, timeout=60) as answer,
    ):
        assert answer.status == 200
