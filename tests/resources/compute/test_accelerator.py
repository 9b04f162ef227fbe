"""An existing device can be chosen; any other is refused."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from resources.compute import accelerator
from resources.compute.accelerator import choose_accelerator
from resources.environment import environment
from resources.errors import EmergenceError


def test_the_cpu_is_always_there() -> None:
    chosen = choose_accelerator("cpu")
    assert (chosen.device, chosen.model_dtype("float32")) == ("cpu", "float32")
    assert chosen.name == environment()["device"] == "cpu"


def test_a_processor_never_emulates_a_narrow_data_type(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = choose_accelerator("cpu")
    monkeypatch.setattr(accelerator, "_cpu_flags", lambda: frozenset({"avx2", "avx512f"}))
    with pytest.raises(EmergenceError, match="does not compute in bfloat16"):
        chosen.model_dtype("bfloat16")
    monkeypatch.setattr(accelerator, "_cpu_flags", lambda: frozenset({"avx512f", "avx512_bf16"}))
    assert chosen.model_dtype("bfloat16") == "bfloat16"
    with pytest.raises(EmergenceError, match="compute_dtype to float32"):
        chosen.model_dtype("float16")
    assert dataclasses.replace(chosen, device="cuda:0").model_dtype("float16") == "float16"


def test_auto_chooses_an_available_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EMERGENCE_DEVICE", raising=False)
    kind = "cuda" if torch.cuda.is_available() else "cpu"
    for wanted in (None, "auto"):
        assert choose_accelerator(wanted).device.partition(":")[0] == kind


def test_the_environment_chooses_unless_an_argument_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMERGENCE_DEVICE", "cuda:99")
    assert choose_accelerator("cpu").device == "cpu"
    with pytest.raises(EmergenceError, match="cuda:99"):
        choose_accelerator()
    monkeypatch.setenv("EMERGENCE_DEVICE", "")
    assert choose_accelerator() == choose_accelerator("auto")


@pytest.mark.parametrize(
    "wanted", ["cuda:99", "cuda:", "cuda:-1", "cuda:x", "cuda:0:0", "gpu", "cpu:0", "CPU", " ", "mps"]
)
def test_a_missing_device_is_refused_with_the_available_ones(wanted: str) -> None:
    with pytest.raises(EmergenceError) as caught:
        choose_accelerator(wanted)
    assert repr(wanted) in caught.value.what
    assert f"{torch.cuda.device_count()} GPUs" in caught.value.what
    assert "EMERGENCE_DEVICE" in caught.value.remedy


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_cuda_without_a_gpu_is_refused_and_not_replaced_by_the_cpu() -> None:
    with pytest.raises(EmergenceError, match="0 GPUs"):
        choose_accelerator("cuda")


def test_a_choice_can_be_described_without_importing_torch() -> None:
    program = "import sys, resources.compute.accelerator; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[3])
