"""Files of an SAE folder: settings and tensors, checked on reading and written atomically.

Files are treated as hostile input. No file can run code: pickles are never opened.
"""

import json
import math
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from torch import Tensor

from resources.errors import EmergenceError
from resources.files.atomic import clear_disk_errors, replacing_folder

CONFIG_NAME = "cfg.json"
_MAX_CONFIG_BYTES = 2**20
_MAX_HEADER_BYTES = 2**20
_MAX_SIZE = 2**31
"""Largest dimension; bounds products of settings, and numbers in error messages."""
_FLOATS = {"F64", "F32", "F16", "BF16"}


def refused(
    path: Path,
    what: str,
    remedy: str = "remove the folder and make the SAE again, or copy it again from where it was published",
) -> EmergenceError:
    """Make the error about a file: its name, the problem, its path and a remedy."""
    return EmergenceError(f"{path.name} {what}", where=path, remedy=remedy)


def read_settings(path: Path) -> dict[str, Any]:
    """Read the JSON object of a file of at most 1 MiB.

    Raises:
        EmergenceError: not a regular file, too large, or not a JSON object; NaN and Infinity are not JSON.
    """
    try:
        if _regular_size(path) > _MAX_CONFIG_BYTES:
            raise refused(path, f"has {path.stat().st_size:,} bytes, too many for settings")
        settings = json.loads(path.read_bytes(), parse_constant=_no_constant)
    except OSError as error:
        raise refused(path, f"cannot be read: {error}") from error
    except (ValueError, RecursionError) as error:
        raise refused(path, f"is not JSON: {error!s:.200}") from error
    if not isinstance(settings, dict):
        raise refused(path, "holds a single value instead of settings")
    return settings


def positive_integer(settings: Mapping[str, Any], name: str, path: Path) -> int:
    """Return a setting that must be a positive integer.

    Raises:
        EmergenceError: missing, not an integer, below 1 or above 2^31.
    """
    value = settings.get(name)
    # True is an int in Python, not in JSON.
    if type(value) is not int or not 1 <= value <= _MAX_SIZE:
        raise refused(path, f"{name} is {shown(value)}, must be a positive integer")
    return value


def one_of(
    settings: Mapping[str, Any], name: str, default: Any, supported: tuple[Any, ...], path: Path, remedy: str
) -> Any:
    """Return a setting with few supported values; `default` if it is absent.

    Raises:
        EmergenceError: any other value, or an equal value of another type, such as 1 for true.
    """
    value = settings.get(name, default)
    if not any(type(value) is type(wanted) and value == wanted for wanted in supported):
        wanted = " or ".join(json.dumps(wanted) for wanted in supported)
        raise refused(path, f"{name} is {shown(value)}, only {wanted} is supported", remedy)
    return value


def shown(value: Any) -> str:
    """Format a value of unknown type and size for a message."""
    return f"{value!r:.80}" if isinstance(value, str | float | bool | None) else f"{json.dumps(value):.80}"


def read_tensors(
    path: Path, shapes: Mapping[str, tuple[int, ...]], optional: Mapping[str, tuple[int, ...]] | None = None
) -> dict[str, Tensor]:
    """Check a safetensors file and read its tensors as float32, copied to memory.

    Args:
        path: path of the file.
        shapes: shapes of required tensors, by name.
        optional: shapes of optional tensors, by name; all others are refused.

    Returns:
        Tensors by name; converted from float64, float32, float16 or bfloat16.

    Raises:
        EmergenceError: other file size, names, shapes or types; NaN or infinity; not a safetensors file.
    """
    allowed = {**shapes, **(optional or {})}
    try:
        n_bytes = _regular_size(path)
        at_least, at_most = 2 * _n_numbers(shapes), 8 * _n_numbers(allowed)
        # Before opening: bounds the memory that a read can take.
        if not at_least < n_bytes <= at_most + _MAX_HEADER_BYTES:
            raise refused(path, f"has {n_bytes:,} bytes, the settings require {at_least:,} to {at_most:,} and a header")
        with safetensors.safe_open(path, framework="pt") as file:
            names = set(file.keys())
            if not shapes.keys() <= names <= allowed.keys():
                raise refused(path, f"holds {sorted(names)!s:.200}, must hold {sorted(shapes)}")
            return {name: _read_tensor(file, name, allowed[name], path) for name in sorted(names)}
    except OSError as error:
        raise refused(path, f"cannot be read: {error}") from error
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        raise refused(path, f"is not a safetensors file: {error!s:.200}") from error


def write_files(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write a folder of files atomically.

    Raises:
        EmergenceError: the folder exists, the disk is full, or writing is not permitted.
    """
    if folder.exists():
        raise EmergenceError("The SAE folder exists already.", where=folder, remedy="remove it to write another")
    with clear_disk_errors(folder), replacing_folder(folder) as temporary:
        for name, content in contents.items():
            (temporary / name).write_bytes(content)


def settings_file(settings: Mapping[str, Any]) -> bytes:
    """Format settings as JSON.

    Raises:
        ValueError: NaN or infinity among them.
    """
    return (json.dumps(settings, indent=2, allow_nan=False) + "\n").encode()


def _read_tensor(file: Any, name: str, shape: tuple[int, ...], path: Path) -> Tensor:
    entry = file.get_slice(name)
    found, kind = tuple(entry.get_shape()), entry.get_dtype()
    if found != shape or kind not in _FLOATS:
        raise refused(path, f"{name} is {kind} {found}, must be F64, F32, F16 or BF16 {shape}")
    # A copy: float32 would stay a memory map of a file that may change or vanish.
    value = file.get_tensor(name).to(torch.float32, copy=True)
    if not bool(torch.isfinite(value).all()):
        raise refused(path, f"{name} holds NaN or infinity")
    return value


def _regular_size(path: Path) -> int:
    status = path.stat()
    # Reading a pipe would block, and a device has no size.
    if not stat.S_ISREG(status.st_mode):
        raise refused(path, "is not a file")
    return status.st_size


def _n_numbers(shapes: Mapping[str, tuple[int, ...]]) -> int:
    return sum(math.prod(shape) for shape in shapes.values())


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")
