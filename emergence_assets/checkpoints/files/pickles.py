"""Names of pickled weights in a checkpoint folder. The pickles themselves are not read."""

import json
import re
from pathlib import Path

from emergence_assets.checkpoints.files.safetensors_file import MAX_JSON_BYTES
from resources.errors import BrokenCheckpoint

SINGLE, INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
FETCH_AGAIN = "choose another revision, or a revision that is published as safetensors"


def pickle_files(folder: Path) -> list[Path]:
    """List the pickled weights of a folder: one file, or the files of its index.

    Raises:
        BrokenCheckpoint: there are none, the index is invalid, or a file is missing.
    """
    if (folder / SINGLE).exists():
        return [folder / SINGLE]
    index = folder / INDEX
    try:
        if index.stat().st_size > MAX_JSON_BYTES:
            raise ValueError(f"it is larger than {MAX_JSON_BYTES} bytes")
        weight_map = json.loads(index.read_bytes())["weight_map"]
        names = sorted({str(name) for name in weight_map.values()})
    except FileNotFoundError:
        raise BrokenCheckpoint(f"{SINGLE} is missing", where=folder / SINGLE, remedy=FETCH_AGAIN) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BrokenCheckpoint(f"the index cannot be read: {error}", where=index, remedy=FETCH_AGAIN) from error
    for name in names:
        if not re.fullmatch(r"\w[\w.-]*\.bin", name, re.ASCII):
            raise BrokenCheckpoint(f"the index has an invalid file name {name!r}", where=index, remedy=FETCH_AGAIN)
        if not (folder / name).exists():
            raise BrokenCheckpoint(f"{name} is missing", where=folder / name, remedy=FETCH_AGAIN)
    return [folder / name for name in names]
