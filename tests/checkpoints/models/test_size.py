"""A config that describes a far larger model than the weights hold is refused before memory or time is spent."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from emergence_assets.checkpoints.models.loading import load_model
from resources.errors import BrokenCheckpoint
from tests.family import step_folder

MODEL = "gloss-tiny"


@pytest.fixture
def folder(family: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(step_folder(family, MODEL, 8), tmp_path / "step8"))


def change_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"num_hidden_layers": 10**9}, "config.json has num_hidden_layers 1000000000, and the weights hold 28 tensors"),
        ({"vocab_size": 10**11}, "config.json describes 3200000006592 parameters, and the weights hold 72128"),
        ({"hidden_size": 10**7}, "config.json describes 800043720000128 parameters"),
        ({"intermediate_size": 10**10}, "config.json describes 660000067904 parameters"),
        ({"vocab_size": "8"}, "expected int, got str"),
        ({"hidden_size": None}, "expected int, got NoneType"),
        ({"num_attention_heads": 7}, "not divisible by the number of attention heads"),
    ],
    ids=["layers", "vocabulary", "width", "feed-forward", "text", "null", "heads"],
)
def test_a_config_of_another_size_is_refused(folder: Path, changes: dict[str, Any], what: str) -> None:
    change_config(folder, **changes)
    with pytest.raises(BrokenCheckpoint) as caught:
        load_model(folder)
    assert what in caught.value.what


@pytest.mark.parametrize("changes", [{"num_hidden_layers": 3}, {"vocab_size": 2049}], ids=["missing", "other shape"])
def test_nothing_is_printed_about_tensors(
    folder: Path, changes: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    change_config(folder, **changes)
    with pytest.raises(BrokenCheckpoint, match=r"lack 12 tensors|has shape"):
        load_model(folder)
    assert capfd.readouterr() == ("", "")
