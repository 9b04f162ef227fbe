"""Refuse checkpoint folders with links out of the folder, or with code that would be run."""

import json
import stat
from pathlib import Path

from emergence_assets.checkpoints.files.safetensors_file import refuse
from resources.errors import BrokenCheckpoint

MAX_CONFIG_BYTES = 16 * 2**20


def refuse_unsafe(folder: Path, *, trusted: bool, root: Path | None = None) -> None:
    """Refuse a checkpoint folder that links out of itself or would run code of its own.

    Args:
        folder: folder of the checkpoint.
        trusted: the study file lists the model under trust_remote_code.
        root: links may lead to any path below `root`; by default the folder itself.

    Raises:
        BrokenCheckpoint: the folder is unsafe; names the file.
    """
    refuse_ways_out(folder, root or folder)
    if not trusted:
        _refuse_remote_code(folder / "config.json")


def refuse_ways_out(folder: Path, root: Path) -> None:
    """Refuse a folder that is or holds a link out of the root, or an entry that is neither file nor folder.

    No file is opened: reading a pipe would block, and reading a device would not end.

    Raises:
        BrokenCheckpoint: the folder is unsafe; names the file.
    """
    allowed = root.resolve()
    for path in (folder, *sorted(folder.iterdir())):
        try:
            target = path.resolve()
            if not target.is_relative_to(allowed):
                remedy = "replace the link by the file itself, or set family.root to a folder above both"
                refuse(f"{path.name} is a link to {target}, which is outside of {allowed}", path, remedy)
            mode = path.stat().st_mode
        except FileNotFoundError:
            continue  # a broken link, or removed meanwhile: the reader reports it
        except (OSError, RuntimeError):
            raise BrokenCheckpoint(f"{path.name} cannot be followed", where=path, remedy="remove it") from None
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            refuse(f"{path.name} is not a file", path, "remove it")


def _refuse_remote_code(config: Path) -> None:
    try:
        if config.stat().st_size > MAX_CONFIG_BYTES:
            raise BrokenCheckpoint(f"{config.name} is larger than {MAX_CONFIG_BYTES} bytes", where=config)
        declared = json.loads(config.read_bytes())
    except (OSError, ValueError, RecursionError):
        return  # missing or damaged: the reader reports it
    if isinstance(declared, dict) and (declared.get("auto_map") or declared.get("custom_pipelines")):
        remedy = "read that code; if you trust it, list the model under family.trust_remote_code in the study file"
        refuse("its config requires running Python code of the checkpoint", config, remedy)
