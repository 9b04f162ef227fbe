"""Memory of a stream is the sum of its parts, and follows the settings of the study."""

import json
from pathlib import Path

import pytest

from emergence_assets.saes.held_out import EVALUATION_ROWS
from emergence_assets.saes.layers.memory import stream_memory
from emergence_assets.study.sae import SAESettings
from tests.conftest import TINY, run_emergence

SETTINGS = SAESettings(k=16, n_latents=1024, n_steps=10, mixing_rows=20_000, seeds=[0, 1])


def test_rows_are_slabs_and_held_out_rows_of_all_layers_and_saes_have_moments() -> None:
    stated = stream_memory(SETTINGS, 10_000_000, 64, 3, 128, 4096)
    assert stated.rows == 3 * (20_000 + EVALUATION_ROWS) * 128
    n_weights = 1024 * 64
    assert stated.saes == 4 * 6 * (3 * (2 * n_weights + 1024 + 64) + n_weights)
    assert stated.total == sum(stated)
    few = stream_memory(SETTINGS, 5_000, 64, 3, 128, 4096)
    assert few.rows == 3 * (5_000 + 500) * 128


@pytest.mark.parametrize(("change", "part"), [({"mixing_rows": 40_000}, "rows"), ({"seeds": [0, 1, 2, 3]}, "saes")])
def test_a_larger_setting_takes_more(change: dict[str, object], part: str) -> None:
    larger = SETTINGS.model_copy(update=change)
    before, after = (stream_memory(one, 10_000_000, 64, 3, 128, 4096) for one in (SETTINGS, larger))
    assert getattr(after, part) > getattr(before, part)
    assert after.forward == before.forward


def test_the_forecast_of_a_streaming_study_states_it(tmp_path: Path) -> None:
    study = tmp_path / "streams.yaml"
    study.write_text(TINY.read_text().replace("training_texts: 600", "training_texts: 600, retention: stream"))
    shown = run_emergence(tmp_path, "storage", study=study)
    assert "memory of a worker that streams gloss-tiny, beside model and libraries" in shown.stdout
    stated = json.loads(run_emergence(tmp_path, "storage", "--json", study=study).stdout)["stream_memory"]
    assert stated["total"] == sum(stated[part] for part in ("rows", "saes", "batches", "forward"))
    assert "stream_memory" not in json.loads(run_emergence(tmp_path, "storage", "--json").stdout)
