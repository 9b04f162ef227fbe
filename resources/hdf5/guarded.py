"""Reader of HDF5 files as hostile input: no link is followed, and no data is decoded or allocated before a check.

HDF5 by default follows links to other files, reads any file of the machine through external storage, and shows
missing parts of virtual datasets as zeros; each is refused.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import BinaryIO

import h5py
import numpy as np
from h5py import h5a, h5d, h5s, h5t  # pyright: ignore[reportAttributeAccessIssue]  # compiled, without stubs

from resources.errors import EmergenceError
from resources.hdf5.hdf5 import NUMERIC_TYPES, AttrValue

OPENING_ATTEMPTS = 5
"""Maximum number of attempts to open a file that is being replaced."""
MAX_ATTR_BYTES = 1 << 20
REBUILD = "Delete the file and materialise its asset again."


@dataclass(frozen=True)
class DatasetFacts:
    """Location, shape and type of a checked dataset in its file."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    """A key of `NUMERIC_TYPES`, or "utf8"."""
    memory_dtype: np.dtype
    """numpy type with the same bits: bfloat16 as uint16, strings as S."""
    offset: int
    """First byte in the file."""
    n_bytes: int
    xxh3_128: str
    """Hash of the bytes, stored as an attribute of the dataset; empty without the attribute."""


class GuardedFile:
    """An open file that returns only checked attributes and datasets. Made by `open_guarded`."""

    def __init__(self, path: Path, file: h5py.File, stream: BinaryIO):
        self.path = path
        self.stream = stream
        self._file = file
        self.attrs: dict[str, AttrValue] = {name: self._attr(file, name) for name in _attr_names(file)}

    def names(self) -> set[str]:
        """Return the names of all members of the root."""
        return set(self._file.keys())

    def refuse(self, what: str, remedy: str = REBUILD) -> EmergenceError:
        """Make an error about this file."""
        return EmergenceError(what, where=self.path, remedy=remedy)

    def facts(self, name: str) -> DatasetFacts:
        """Check the dataset `name` (path with slashes) and return the location of its bytes.

        Raises:
            EmergenceError: the dataset is missing, reached by a link, virtual, stored in another file, chunked or
                filtered, its type is not in the allow-list, or its size is inconsistent.
        """
        dataset = self._resolve(name)
        creation = dataset.id.get_create_plist()
        layout = creation.get_layout()
        if layout != h5d.CONTIGUOUS:
            kind = {h5d.CHUNKED: "chunked", h5d.COMPACT: "compact"}.get(layout, "virtual")
            raise self.refuse(f"Dataset {name} is {kind}; only contiguous datasets are read.")
        if creation.get_external_count():
            raise self.refuse(f"Dataset {name} keeps its bytes in another file (external storage).")
        if creation.get_nfilters():
            raise self.refuse(f"Dataset {name} has filters; only plain bytes are read.")
        dtype, memory_dtype = self._type(name, dataset.id.get_type())
        shape = tuple(int(n) for n in dataset.shape)
        n_bytes = prod(shape) * memory_dtype.itemsize
        offset = dataset.id.get_offset()
        if offset is None or dataset.id.get_storage_size() != n_bytes or n_bytes == 0:
            raise self.refuse(f"Dataset {name} declares shape {shape} but does not hold {n_bytes} bytes.")
        size = os.fstat(self.stream.fileno()).st_size
        if offset + n_bytes > size:
            raise self.refuse(f"Dataset {name} ends at byte {offset + n_bytes}, beyond the file's {size} bytes.")
        stored_hash = str(self._attr(dataset, "xxh3_128")) if "xxh3_128" in dataset.attrs else ""
        return DatasetFacts(name, shape, dtype, memory_dtype, offset, n_bytes, stored_hash)

    def read(self, facts: DatasetFacts) -> np.ndarray:
        """Read the whole dataset into memory, byte for byte."""
        self.stream.seek(facts.offset)
        data = self.stream.read(facts.n_bytes)
        return np.frombuffer(data, dtype=facts.memory_dtype).reshape(facts.shape)

    def _resolve(self, name: str) -> h5py.Dataset:
        node: object = self._file
        for part in name.strip("/").split("/"):
            if not isinstance(node, h5py.Group) or part not in node:
                raise self.refuse(f"Dataset {name} is missing.")
            link = node.get(part, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise self.refuse(f"Dataset {name} is reached by a {type(link).__name__}; links are not followed.")
            node = node[part]
        if not isinstance(node, h5py.Dataset):
            raise self.refuse(f"{name} is not a dataset.")
        return node

    def _type(self, name: str, file_type: h5t.TypeID) -> tuple[str, np.dtype]:
        for dtype, (allowed, memory_dtype) in NUMERIC_TYPES.items():
            if file_type == allowed:
                return dtype, memory_dtype
        if isinstance(file_type, h5t.TypeStringID) and not file_type.is_variable_str():
            return "utf8", np.dtype(f"S{file_type.get_size()}")
        raise self.refuse(f"Dataset {name} has a type that is not allowed: {file_type.__class__.__name__}.")

    def _attr(self, target: h5py.Group | h5py.Dataset, name: str) -> AttrValue:
        handle = h5a.open(target.id, name.encode())
        file_type = handle.get_type()
        is_scalar = handle.get_space().get_simple_extent_type() == h5s.SCALAR
        if not is_scalar or handle.get_storage_size() > MAX_ATTR_BYTES:
            raise self.refuse(f"Attribute {name} is not a single small value.")
        if isinstance(file_type, h5t.TypeStringID) and not file_type.is_variable_str():
            text = np.empty((), f"S{file_type.get_size()}")
            handle.read(text, mtype=file_type)
            return text.item().decode()
        if file_type in (h5t.STD_I64LE, h5t.IEEE_F64LE):
            number = np.empty((), "<i8" if file_type == h5t.STD_I64LE else "<f8")
            handle.read(number)
            return number.item()
        raise self.refuse(f"Attribute {name} has a type that is not allowed: {file_type.__class__.__name__}.")


def _attr_names(file: h5py.File) -> list[str]:
    names: list[bytes] = []
    h5a.iterate(file.id, names.append)  # opening the nth attribute by its index takes n steps
    return [name.decode() for name in names]


def _opened(path: Path) -> h5py.File:
    try:
        return h5py.File(path, "r", locking="best-effort")
    except OSError as error:
        if "unable to lock file" not in str(error):
            raise
        # Files never change under their final name, so that a foreign lock or a disk without locks does not matter.
        return h5py.File(path, "r", locking=False)


@contextmanager
def open_guarded(path: Path, format_name: str, format_version: int) -> Iterator[GuardedFile]:
    """Open a file for reading, after checking that it is complete and of the expected format.

    Raises:
        EmergenceError: the file is missing, not HDF5, truncated, damaged, incomplete, or of another format or version;
            or HDF5 finds an error while the file is in use.
    """
    path = Path(path)
    if not path.is_file():
        raise EmergenceError("The file does not exist.", where=path, remedy="Materialise its asset first.")
    try:
        with _opened_twice(path) as (stream, file):
            if file.userblock_size:
                raise EmergenceError("The file starts with foreign bytes (user block).", where=path, remedy=REBUILD)
            guarded = GuardedFile(path, file, stream)
            _check_format(guarded, format_name, format_version)
            yield guarded
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, OverflowError) as error:
        reason = " ".join(str(error).split())
        if "signature not found" in reason:
            what = "The file is not HDF5."
        elif "truncated" in reason:
            what = f"The file is truncated: {reason}"
        else:
            what = f"The file cannot be read: {reason}"
        # Only with the variable set, which overrides the locking mode of the program.
        locked = "Unset HDF5_USE_FILE_LOCKING, or end the program that holds the file."
        raise EmergenceError(what, where=path, remedy=locked if "unable to lock file" in reason else REBUILD) from error


@contextmanager
def _opened_twice(path: Path) -> Iterator[tuple[BinaryIO, h5py.File]]:
    """Open a file twice: as bytes, which are mapped and hashed later, and as HDF5."""
    for _ in range(OPENING_ATTEMPTS):
        with ExitStack() as both:
            stream, file = both.enter_context(path.open("rb")), both.enter_context(_opened(path))
            opened, parsed = os.fstat(stream.fileno()), path.stat()
            if (opened.st_dev, opened.st_ino, opened.st_size) == (parsed.st_dev, parsed.st_ino, parsed.st_size):
                yield stream, file
                return
    raise EmergenceError("The file is replaced again and again.", where=path, remedy="Run again.")


def _check_format(guarded: GuardedFile, format_name: str, format_version: int) -> None:
    format_found, version = guarded.attrs.get("format"), guarded.attrs.get("format_version")
    if format_found != format_name:
        raise guarded.refuse(f"The file's format is {format_found!r}, expected {format_name!r}.")
    if version != format_version:
        raise EmergenceError(
            f"The file has version {version!r} of format {format_name}, this program reads version {format_version}.",
            where=guarded.path,
            remedy="Materialise the file's asset again with this program, or read it with the program that wrote it.",
        )
    if guarded.attrs.get("complete") != 1:
        raise guarded.refuse("The file was never finished (attribute complete is not 1).")
