"""Reservation of disk space for a file of known size, so that a full disk is found before the work and not after it."""

import ctypes
import errno
import functools
import os
from typing import Any


def reserve_space(descriptor: int, n_bytes: int) -> None:
    """Reserve the first bytes of an open file, where the file system can.

    Uses fallocate(2): `posix_fallocate` would write into every block of a file system that cannot reserve, such as NFS
    before 4.2, and all bytes would be sent twice. There, and on macOS, a full disk is found at the first write beyond
    its space.

    Raises:
        OSError: the disk is full, or a quota or limit is reached.
    """
    call = _fallocate()
    if call is None or n_bytes == 0:
        return
    while call(descriptor, 0, 0, n_bytes):
        code = ctypes.get_errno()
        if code in (errno.EOPNOTSUPP, errno.ENOSYS):
            return
        if code != errno.EINTR:
            raise OSError(code, os.strerror(code))


@functools.cache
def _fallocate() -> Any:
    call = getattr(ctypes.CDLL(None, use_errno=True), "fallocate", None)
    if call is not None:
        call.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    return call
