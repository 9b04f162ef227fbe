"""Names and hashes of files on a hub, checked before use."""

import re
from typing import NamedTuple

from pydantic import StrictInt

from resources.errors import BrokenCheckpoint

MAX_FILE_BYTES = 2**50
"""A larger size of one file is a mistake or a lie."""
SHA1, SHA256 = re.compile(r"[0-9a-f]{40}"), re.compile(r"[0-9a-f]{64}")


class PinnedFile(NamedTuple):
    """One file of a revision."""

    name: str
    n_bytes: StrictInt
    sha256: str
    """Of the content, where the hub keeps large files by it; else empty."""
    blob_id: str
    """git's sha1 of the file, where sha256 is empty."""


def refuse_odd_file(file: PinnedFile, where: object = "") -> None:
    """Refuse a file of a lock or of a hub's listing that could not be fetched and verified.

    Raises:
        BrokenCheckpoint: its name leads elsewhere, its size is none, or there is no hash of it.
    """
    refuse_unsafe_name(file.name, where)
    if type(file.n_bytes) is not int or not 0 <= file.n_bytes <= MAX_FILE_BYTES:
        raise BrokenCheckpoint(f"{file.name} has {str(file.n_bytes)[:20]} bytes, which is no size", where=where)
    if not (SHA256.fullmatch(file.sha256) if file.sha256 else SHA1.fullmatch(file.blob_id)):
        raise BrokenCheckpoint(f"the hub states no hash of {file.name}", where=where)


_NAME = re.compile(r"\w[\w.+-]{0,199}", re.ASCII)


def refuse_unsafe_name(name: str, where: object = "") -> None:
    """Refuse a file name from outside that could lead anywhere but into its own folder.

    Raises:
        BrokenCheckpoint: it has a slash, begins with a dot, or has odd characters.
    """
    if not _NAME.fullmatch(name):
        raise BrokenCheckpoint(
            f"unsafe file name {name!r}", where=where, remedy="take this checkpoint from another place; report the name"
        )
