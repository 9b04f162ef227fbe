"""Names and hashes of files on a hub, checked before use."""

import re
from typing import NamedTuple

from pydantic import StrictInt

from resources.errors import BrokenCheckpoint

MAX_FILE_BYTES = 2**50
"""Maximum size of one file; a larger stated size is an error or an attack."""
SHA1, SHA256 = re.compile(r"[0-9a-f]{40}"), re.compile(r"[0-9a-f]{64}")


class PinnedFile(NamedTuple):
    """One file of a revision."""

    name: str
    n_bytes: StrictInt
    """-1 where the hub states no number."""
    sha256: str
    """SHA-256 of the content for large files; else empty."""
    blob_id: str
    """SHA-1 of the git blob, where `sha256` is empty."""


def refuse_odd_file(file: PinnedFile, where: object = "") -> None:
    """Refuse a file of a lock or a listing that cannot be downloaded and verified.

    Raises:
        BrokenCheckpoint: its name is unsafe, its size is invalid, or it has no hash.
    """
    refuse_unsafe_name(file.name, where)
    if type(file.n_bytes) is not int or not 0 <= file.n_bytes <= MAX_FILE_BYTES:
        raise BrokenCheckpoint(f"{file.name} has {str(file.n_bytes)[:20]} bytes, which is not a size", where=where)
    if not (SHA256.fullmatch(file.sha256) if file.sha256 else SHA1.fullmatch(file.blob_id)):
        raise BrokenCheckpoint(f"the hub states no hash of {file.name}", where=where)


_NAME = re.compile(r"\w[\w.+-]{0,199}", re.ASCII)


def refuse_unsafe_name(name: str, where: object = "") -> None:
    """Refuse an external file name that could point outside its folder.

    Raises:
        BrokenCheckpoint: the name has a slash, begins with a dot, or has unusual characters.
    """
    if not _NAME.fullmatch(name):
        raise BrokenCheckpoint(
            f"unsafe file name {name!r}", where=where, remedy="use another source of this checkpoint; report the name"
        )
