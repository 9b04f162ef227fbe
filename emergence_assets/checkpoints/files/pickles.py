"""Names of pickled weights in a checkpoint folder. The pickles themselves are not read."""

from pathlib import Path

from emergence_assets.checkpoints.files.folder import indexed_files, reading
from emergence_assets.checkpoints.files.safetensors_file import refuse

SINGLE, INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
FETCH_AGAIN = "choose another revision, or a revision that is published as safetensors"


def pickle_files(folder: Path) -> list[Path]:
    """List the pickled weights of a folder: one file, or the files of its index.

    Raises:
        BrokenCheckpoint: there are none, the index is invalid, or a file is missing.
    """
    if (folder / SINGLE).exists():
        return [folder / SINGLE]
    if not (folder / INDEX).exists():
        refuse(f"{SINGLE} is missing", folder / SINGLE, FETCH_AGAIN)
    with reading(folder):
        return indexed_files(folder / INDEX, r"(?a)\w[\w.-]*\.bin", FETCH_AGAIN)
