"""The pretended device is as strict as a GPU, and computes what the CPU computes."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tests.pretended_device import DEVICE, MixedDevicesError, pretended_device


def on(device: str | torch.device, work: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(6, 4, generator=generator).to(device) for _ in range(2))
    return work(a, b).cpu()


WORK: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "sum": lambda a, b: a + b,
    "product": lambda a, b: a @ b.T,
    "slice": lambda a, b: a[1:3, None] * 2,
    "mask": lambda a, b: a[b > 0],
    "index": lambda a, b: a[torch.tensor([3, 1])],
    "in place": lambda a, b: a.add_(b).clamp_(min=0),
    "through a view": lambda a, b: (a[2:4].copy_(b[:2]), a)[1],
    "masked put": lambda a, b: (a.__setitem__(b > 0, 0.0), a)[1],
    "new tensor": lambda a, b: torch.zeros(6, device=a.device) + a.sum(1),
    "scalar of the CPU": lambda a, b: a * torch.tensor(2.0),
    "largest": lambda a, b: a.topk(2).values,
    "kept result": lambda a, b: torch.mul(a, b, out=torch.empty_like(a)),
    "generator": lambda a, b: a + torch.arange(4, device=a.device, dtype=torch.float32),
}


@pytest.mark.parametrize("name", WORK)
def test_values_are_those_of_the_cpu(name: str) -> None:
    expected = on("cpu", WORK[name])
    with pretended_device():
        found = on(DEVICE, WORK[name])
    assert type(found) is Tensor
    assert torch.equal(found, expected)


@pytest.mark.parametrize(
    "work",
    [
        lambda a: a + torch.ones(6, 4),
        lambda a: a @ torch.ones(4, 2),
        lambda a: torch.cat([a, torch.ones(1, 4)]),
        lambda a: torch.where(torch.ones(6, 4) > 0, a, a),
        lambda a: a.index_add_(0, torch.zeros(6, dtype=torch.int64), a),
        lambda a: torch.ones(6, 4).add_(a),
    ],
)
def test_two_devices_do_not_meet(work: Callable[[Tensor], Tensor]) -> None:
    with pretended_device():
        a = torch.ones(6, 4, device=DEVICE)
        with pytest.raises(MixedDevicesError):
            work(a)


def test_a_tensor_of_the_device_has_no_numpy() -> None:
    with pretended_device(), pytest.raises((RuntimeError, TypeError)):
        torch.ones(3, device=DEVICE).numpy()


def test_waits_are_counted() -> None:
    with pretended_device() as waits:
        a = torch.ones(6, 4, device=DEVICE)
        b = (a * 2 + a.sum(0)).topk(2).values.to(torch.float64)
        assert not waits
        a[torch.zeros(6, dtype=torch.bool, device=DEVICE)] = 0
        assert b.sum().item() == 96
        assert len((a > 0).nonzero()) == 24
        assert b.cpu().tolist() == [[8.0, 8.0]] * 6
        assert bool((a > 0).all())
    assert waits == {"index_put_": 1, "_local_scalar_dense": 2, "nonzero": 1, "_to_copy": 1}
