"""Which commit of the project computes: asked of git once per process, and handed to workers with their tasks."""

import functools
import os
import subprocess
from pathlib import Path
from typing import Any

UNKNOWN = "unknown"
PACKAGES = ("emergence_assets", "resources")
GIT_SECONDS = 10
"""Longer is not waited for: a commit is worth knowing and not worth a run that hangs."""


def checkout() -> dict[str, Any]:
    """The commit that this package is at (`git_commit`), and whether its files differ from it (`git_dirty`).

    Both are "unknown" outside git, without git, and where the package lies in another project's checkout.
    """
    return dict(_checkout(Path(__file__).parent))


@functools.cache
def _checkout(package: Path) -> tuple[tuple[str, Any], ...]:
    # A virtual environment often lies in somebody else's checkout: that commit would say nothing of this code.
    tracked = _git(package, "ls-files", "--error-unmatch", Path(__file__).name)
    commit = _git(package, "rev-parse", "HEAD") if tracked else None
    changed = _git(package.parent, "status", "--porcelain", "--", *PACKAGES) if commit else None
    if commit is None or changed is None:
        return (("git_commit", UNKNOWN), ("git_dirty", UNKNOWN))
    return (("git_commit", commit.strip()), ("git_dirty", bool(changed)))


def _git(folder: Path, *arguments: str) -> str | None:
    """What git says; None when it does not."""
    # A hook or another caller may have named a repository of its own.
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, timeout=GIT_SECONDS, check=False, env=own, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return ended.stdout if ended.returncode == 0 else None
