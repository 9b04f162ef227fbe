"""Atomic writes: a kill at any moment leaves the old content or the new content, never a part of either.

The content is written under a temporary name beside the final name, flushed, and renamed. `resources.files.storage` has
the paths.
"""

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from resources.errors import EmergenceError
from resources.files.temporaries import temporary_beside

_FULL = (errno.ENOSPC, errno.EDQUOT)
_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST)
_ANOTHER_FOLDER = "give another folder with --data or EMERGENCE_DATA, or change its rights"


@contextlib.contextmanager
def clear_disk_errors(where: Path) -> Iterator[None]:
    """Turn errors such as a full disk or a read-only folder into a message with a remedy."""
    try:
        yield
    except OSError as error:
        if error.errno in _NOT_WRITABLE:
            what = f"The data folder cannot be written: {os.strerror(error.errno)}."
            raise EmergenceError(what, where=error.filename or where, remedy=_ANOTHER_FOLDER) from error
        if error.errno in _FULL:
            raise explained(error, where) from error
        raise


def explained(error: OSError, where: Path | None = None) -> EmergenceError:
    """Return an error of the operating system as a message with a remedy.

    Args:
        error: any error with a number.
        where: file or folder to name if the error names none.
    """
    what, remedy = f"{error.strerror}.", "look at this disk or network folder, then run again; finished cells are kept"
    if error.errno in _FULL:
        what, remedy = "The disk is full.", "free some space and run again; finished cells are kept"
    elif error.errno == errno.EROFS:
        what, remedy = "The data folder cannot be written: it is mounted read-only.", _ANOTHER_FOLDER
    elif error.errno in (errno.EACCES, errno.EPERM):
        remedy = "change the rights of this file or folder, or give another data folder with --data"
    return EmergenceError(what, where=error.filename or where or "", remedy=remedy)


@contextlib.contextmanager
def replacing_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; after the block without an error, its file atomically replaces `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(path)
    try:
        yield temporary
        publish(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def publish(temporary: Path, path: Path) -> None:
    """Give a finished file its final name: flush the content, rename the file, flush its folder."""
    sync(temporary)
    temporary.replace(path)
    sync(path.parent)


@contextlib.contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; after the block without an error, it replaces `path`.

    Folders cannot be exchanged in one step: a kill between the two renames leaves no folder, never a partial folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(path)
    temporary.mkdir()
    try:
        yield temporary
        for file in temporary.rglob("*"):
            sync(file)
        sync(temporary)
        if path.exists():
            superseded = temporary_beside(path)
            path.rename(superseded)
            temporary.rename(path)
            shutil.rmtree(superseded)
        else:
            temporary.rename(path)
        sync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def sync(path: Path) -> None:
    """Flush a file or folder to the disk, so that a rename never precedes its content.

    File systems that cannot flush a folder (CIFS, shared folders of virtual machines) are left to their own order.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF) or not path.is_dir():
            raise
    finally:
        os.close(descriptor)
