"""A pretended device: tensors compute on the CPU, and behave like those of a GPU in what a GPU is strict about.

A tensor on it cannot meet one on the CPU, except for scalars on the CPU, and has no `numpy()`. Every transfer that
waits for the device is counted. Values are real, so that results can be compared with those of the CPU. torch's own
FakeTensorMode has no values: what selects rows by a mask, or reads a number, stops there. On a CPU build it also
refuses to index tensors of the device `cuda`. The pretended device is therefore named `meta`.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

DEVICE = torch.device("meta")
_WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "unique_dim", "_unique2"}
"""Operations whose result the CPU needs before it can go on."""
_NAMES = {"index", "index_put", "index_put_"}
"""Operations that wait only where an index is a mask."""


class MixedDevicesError(RuntimeError):
    """An operation has tensors on both devices."""


class OnDevice(Tensor):
    """A tensor on the pretended device; `held` is its value on the CPU."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> "OnDevice":
        made = Tensor._make_wrapper_subclass(  # pyright: ignore[reportAttributeAccessIssue]
            cls, held.size(), strides=held.stride(), dtype=held.dtype, device=DEVICE, requires_grad=held.requires_grad
        )
        made.held = held
        return made

    def __repr__(self, **_: Any) -> str:
        return f"OnDevice({self.held!r})"

    def tolist(self) -> Any:
        """Return the values, after waiting for the device; torch refuses it for subclasses."""
        return self.cpu().tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _compute(func, args, kwargs or {}, Counter())


class _Pretending(TorchDispatchMode):
    """Puts new tensors of the device `meta` on the pretended device."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _compute(func, args, kwargs or {}, self.waits)


class _MakingTensors(TorchFunctionMode):
    """Makes tensors of Python numbers on the CPU first: torch makes those of `meta` without values."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in (torch.tensor, torch.as_tensor) and kwargs.get("device") is not None:
            device = kwargs.pop("device")
            return func(*args, **kwargs).to(device)
        if func is Tensor.new_tensor:
            return torch.tensor(args[1], dtype=args[0].dtype).to(args[0].device)
        return func(*args, **kwargs)


@contextmanager
def pretended_device() -> Iterator[Counter[str]]:
    """Pretend that `meta` is a device; yields the number of waits for it, by operation."""
    mode = _Pretending()
    with mode, _MakingTensors():
        yield mode.waits


def _compute(func: Any, args: Any, kwargs: dict[str, Any], waits: Counter[str]) -> Any:
    name = func._schema.name.removeprefix("aten::")
    args, kwargs = tree_map(_with_value, (args, kwargs))
    tensors = [one for one in tree_flatten((args, kwargs))[0] if isinstance(one, Tensor)]
    is_here = any(isinstance(one, OnDevice) for one in tensors)
    is_copy = name in ("_to_copy", "to", "copy_")
    if is_here and not is_copy:
        _require_one_device(name, tensors)
    named = [one for one in tree_flatten((args, kwargs))[0] if isinstance(one, torch.device)]
    on_device = named[0] == DEVICE if named else is_here
    if name == "copy_":
        on_device = isinstance(args[0], OnDevice)
        if not on_device and is_here:
            waits[name] += 1
    elif is_here and (not on_device or name in _WAITING or (name in _NAMES and _has_mask(args[1]))):
        waits[name] += 1
    held_args, held_kwargs = tree_map(_held, (args, kwargs))
    result = func(*held_args, **held_kwargs)
    if func._schema.is_mutable and args and isinstance(args[0], Tensor) and name.endswith("_"):
        return args[0]
    if "out" in kwargs and isinstance(kwargs["out"], Tensor):
        return kwargs["out"]
    return tree_map(lambda one: OnDevice(one) if isinstance(one, Tensor) else one, result) if on_device else result


def _held(one: Any) -> Any:
    if isinstance(one, torch.device):
        return torch.device("cpu")
    return one.held if isinstance(one, OnDevice) else one


def _with_value(one: Any) -> Any:
    """Put an empty tensor of torch's own on the device; any other has lost its values."""
    if not isinstance(one, Tensor) or isinstance(one, OnDevice) or one.device.type != DEVICE.type:
        return one
    assert not one.numel(), "a tensor of the device has no values"
    return OnDevice(torch.empty(one.shape, dtype=one.dtype))


def _require_one_device(name: str, tensors: list[Tensor]) -> None:
    # As on a GPU, a scalar may stay on the CPU, and so may an index.
    strangers = [one for one in tensors if not isinstance(one, OnDevice) and one.dim()]
    if name in _NAMES:
        strangers = [one for one in strangers if one.is_floating_point()]
    if strangers:
        raise MixedDevicesError(
            f"{name} has tensors on the device and on the CPU, of shape {tuple(strangers[0].shape)}"
        )


def _has_mask(indices: Any) -> bool:
    return any(isinstance(one, Tensor) and one.dtype in (torch.bool, torch.uint8) for one in indices if one is not None)
