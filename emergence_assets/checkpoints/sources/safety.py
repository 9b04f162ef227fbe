"""What a checkpoint folder from outside must not contain: ways out of the folder, and code that would be run."""

import json
import stat
from pathlib import Path

from resources.errors import BrokenCheckpoint

MAX_CONFIG_BYTES = 16 * 2**20


def refuse_unsafe(folder: Path, *, trusted: bool, root: Path | None = None) -> None:
    """Refuse a checkpoint folder that leads out of itself or would run code of its own.

    Args:
        folder: of the checkpoint.
        trusted: the study file names the model under trust_remote_code.
        root: links may lead to places below it; by default the folder itself.

    Raises:
        BrokenCheckpoint: it says which file, and what to do.
    """
    refuse_ways_out(folder, root or folder)
    if not trusted:
        _refuse_remote_code(folder / "config.json")


def refuse_ways_out(folder: Path, root: Path) -> None:
    """Refuse a folder that is or holds a link out of the root, or something that is neither file nor folder.

    Nothing in it is opened: a pipe would be waited for, and a device has no end.

    Raises:
        BrokenCheckpoint: it says which file, and what to do.
    """
    allowed = root.resolve()
    for path in (folder, *sorted(folder.iterdir())):
        try:
            target = path.resolve()
            if not target.is_relative_to(allowed):
                raise BrokenCheckpoint(
                    f"{path.name} is a link to {target}, which is outside of {allowed}",
                    where=path,
                    remedy="put the file itself there, or name its place as the root in the study file",
                )
            mode = path.stat().st_mode
        except FileNotFoundError:
            continue  # a link to nothing, or removed meanwhile: what is missing is said by those who read it
        except (OSError, RuntimeError):
            raise BrokenCheckpoint(f"{path.name} cannot be followed", where=path, remedy="remove it") from None
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise BrokenCheckpoint(f"{path.name} is no file", where=path, remedy="remove it")


def _refuse_remote_code(config: Path) -> None:
    try:
        if config.stat().st_size > MAX_CONFIG_BYTES:
            raise BrokenCheckpoint(f"{config.name} is larger than {MAX_CONFIG_BYTES} bytes", where=config)
        declared = json.loads(config.read_bytes())
    except (OSError, ValueError, RecursionError):
        return  # missing or damaged: said by those who read it
    if isinstance(declared, dict) and (declared.get("auto_map") or declared.get("custom_pipelines")):
        raise BrokenCheckpoint(
            "its config asks to run Python code that comes with it",
            where=config,
            remedy="read that code; if you trust it, name the model under family.trust_remote_code in the study file",
        )
