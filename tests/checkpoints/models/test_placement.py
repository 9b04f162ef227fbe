"""A model that memory does not hold runs from files, with the numbers of one that memory holds."""

import gc
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from emergence_assets.checkpoints.models.loading import load_model
from emergence_assets.checkpoints.models.placement import MEMORY_VARIABLE, require_in_memory
from emergence_assets.checkpoints.models.stream import changed_stream, residual_stream, run_texts
from emergence_assets.emergence.controls.reinitialised_model import reinitialise
from resources.compute.workers import default_workers
from resources.errors import EmergenceError
from tests.family import step_folder

LAYERS = (-1, 0, 1)
CHILD = """
import json, resource, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from emergence_assets.checkpoints.models.loading import load_model
from emergence_assets.checkpoints.models.stream import run_texts
held = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmData:")) * 1024
resource.setrlimit(resource.RLIMIT_DATA, (held + int(sys.argv[2]),) * 2)
try:
    model = load_model(Path(sys.argv[1]), dtype=torch.float32)
    with torch.inference_mode():
        out = run_texts(model, torch.arange(20)[None]).last_hidden_state
    print(json.dumps({"sum": float(out.double().sum())}))
except Exception as error:
    print(json.dumps({"error": f"{type(error).__name__}: {error}"}))
"""


@pytest.fixture
def spread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the weights of the small model fit into memory."""
    monkeypatch.setenv("EMERGENCE_DEVICE", "spread")
    monkeypatch.setenv(MEMORY_VARIABLE, "150000")


def streams_of(folder: Path) -> dict[int, torch.Tensor]:
    model = load_model(folder)
    with residual_stream(model, LAYERS) as resid, torch.inference_mode():
        run_texts(model, torch.arange(24).reshape(2, 12))
        return {layer: resid[layer].clone() for layer in LAYERS}


def test_a_spread_model_has_the_streams_of_one_in_memory(family: Path, spread: None, monkeypatch) -> None:
    folder = step_folder(family, "gloss-tiny", 64)
    before = set(Path(tempfile.gettempdir()).glob("emergence-weights-*"))
    model = load_model(folder)
    assert any(weight.is_meta for weight in model.parameters()), "nothing was put into files"
    made = set(Path(tempfile.gettempdir()).glob("emergence-weights-*")) - before
    assert made
    del model
    gc.collect()
    assert not any(path.exists() for path in made)
    ours = streams_of(folder)
    monkeypatch.delenv("EMERGENCE_DEVICE")
    theirs = streams_of(folder)
    assert all(torch.equal(ours[layer], theirs[layer]) for layer in LAYERS)


def test_streams_of_a_spread_model_can_be_changed(family: Path, spread: None) -> None:
    model = load_model(step_folder(family, "gloss-tiny", 64))
    ids = torch.arange(12)[None]
    with torch.inference_mode(), changed_stream(model, {0: lambda stream: stream * 2}):
        changed = run_texts(model, ids).last_hidden_state
    with torch.inference_mode():
        assert not torch.equal(changed, run_texts(model, ids).last_hidden_state)


def test_what_changes_weights_refuses_weights_that_are_in_files(family: Path, spread: None) -> None:
    model = load_model(step_folder(family, "gloss-tiny", 64))
    with pytest.raises(EmergenceError, match="not in memory"):
        require_in_memory(model)
    with pytest.raises(EmergenceError, match="not in memory") as caught:
        reinitialise(model, 0, keep_embedding=True)
    assert "controls" in str(caught.value.remedy)


def test_one_worker_has_the_whole_machine(spread: None) -> None:
    assert default_workers() == 1
    assert default_workers(on_accelerator=False) >= 1


@pytest.mark.parametrize("stated", ["", "2GB", "-1"])
def test_a_memory_that_is_no_number_is_refused(family: Path, spread: None, monkeypatch, stated: str) -> None:
    monkeypatch.setenv(MEMORY_VARIABLE, stated)
    with pytest.raises(EmergenceError, match=MEMORY_VARIABLE):
        load_model(step_folder(family, "gloss-tiny", 64))


@pytest.mark.slow
def test_a_limit_of_memory_that_the_whole_model_exceeds_is_held(family: Path, tmp_path: Path, monkeypatch) -> None:
    """350 MB of weights in single precision, and 330 MB of memory beyond the imports.

    The file of 176 MB counts as memory while it is mapped, and what lies beside it depends on how threads take turns:
    240 MB were enough on an idle machine, and 250 MB were not on one under load.
    """
    config = GPTNeoXConfig(
        vocab_size=2048, hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072
    )
    torch.manual_seed(0)
    GPTNeoXForCausalLM(config).half().save_pretrained(tmp_path)
    n_bytes = 4 * sum(weight.numel() for weight in GPTNeoXForCausalLM(config).parameters())
    assert n_bytes > 340_000_000

    def answer(limit: int, **environment: str) -> dict:
        with monkeypatch.context() as patched:
            for name, value in environment.items():
                patched.setenv(name, value)
            command = [sys.executable, "-c", CHILD, str(tmp_path), str(limit)]
            child = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3])
        return json.loads(child.stdout.splitlines()[-1])

    whole = answer(10**10)
    assert "memory" in answer(330_000_000)["error"]
    spread = answer(330_000_000, EMERGENCE_DEVICE="spread", **{MEMORY_VARIABLE: "60000000"})
    assert spread == whole
