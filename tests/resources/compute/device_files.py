"""Files that stand in for the GPUs of a machine."""

from pathlib import Path


def devices(folder: Path, n_gpus: int, *others: str) -> Path:
    """Make a folder like /dev of a machine with NVIDIA GPUs and other device files; returns it."""
    made = folder / "dev"
    made.mkdir(exist_ok=True)
    for name in (*(f"nvidia{number}" for number in range(n_gpus)), *others):
        (made / name).touch()
    return made
