"""Commit of the running code, read from git once per process and passed to workers with their tasks."""

import functools
import os
import subprocess
from pathlib import Path
from typing import Any

UNKNOWN = "unknown"
PACKAGES = ("emergence_assets", "resources")
GIT_SECONDS = 10
"""Time-out of a git command, so that a run never hangs for the sake of the commit."""


def checkout() -> dict[str, Any]:
    """Return the commit of this package (`git_commit`), and whether its files differ from it (`git_dirty`).

    Both are "unknown" outside a checkout, without git, and for a package inside the checkout of another project.
    """
    return dict(_checkout(Path(__file__).parent))


@functools.cache
def _checkout(package: Path) -> tuple[tuple[str, Any], ...]:
    # A virtual environment is often inside the checkout of another project, whose commit is unrelated to this code.
    tracked = _git(package, "ls-files", "--error-unmatch", Path(__file__).name)
    commit = _git(package, "rev-parse", "HEAD") if tracked else None
    changed = _git(package.parent, "status", "--porcelain", "--", *PACKAGES) if commit else None
    if commit is None or changed is None:
        return (("git_commit", UNKNOWN), ("git_dirty", UNKNOWN))
    return (("git_commit", commit.strip()), ("git_dirty", bool(changed)))


def _git(folder: Path, *arguments: str) -> str | None:
    """Return the output of a git command; None after an error."""
    # A hook or another caller may have set the variables of another repository.
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, timeout=GIT_SECONDS, check=False, env=own, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return ended.stdout if ended.returncode == 0 else None
