"""Studies with other SAE variants run to their report; warm starts continue from step to step."""

import json
from pathlib import Path

import pytest

from emergence_assets.saes.formats.folder import read_sae
from emergence_assets.study.load import load_study, parse_study
from resources.errors import EmergenceError
from resources.files.plain_yaml import read_yaml
from tests.conftest import TINY, run_emergence, status_of


def study_with(folder: Path, **sae: object) -> Path:
    """Write the tiny study with one model and other SAEs."""
    declared = read_yaml(TINY)
    del declared["family"]["models"]["gloss-tiny"]
    declared["sae"] |= sae
    path = folder / "study.yaml"
    path.write_text(json.dumps(declared), encoding="utf-8")  # JSON is YAML
    return path


@pytest.mark.parametrize(
    ("sae", "message"),
    [
        ({"prefixes": [8, 4]}, "prefixes must ascend"),
        ({"prefixes": [32]}, "stay below n_latents 32"),
        ({"variant": "relu"}, "sae.variant"),
        ({"aux_k": {"coefficient": 0}}, "sae.aux_k.coefficient"),
        ({"warm_start": {"control_steps": [2]}}, r"names \[2\], which steps does not list"),
    ],
)
def test_designs_that_cannot_be_are_refused(tmp_path: Path, sae: dict[str, object], message: str) -> None:
    with pytest.raises(EmergenceError, match=message):
        load_study(str(study_with(tmp_path, **sae)))


def test_warm_starts_do_not_go_with_automation() -> None:
    declared = read_yaml(TINY) | {"automation": True}
    declared["sae"] |= {"warm_start": {}}
    with pytest.raises(EmergenceError, match="makes cells in any order"):
        parse_study(declared)


@pytest.mark.slow
@pytest.mark.long
def test_jump_relu_on_all_positions_runs_to_its_report(tmp_path: Path) -> None:
    study = study_with(tmp_path, variant="jumprelu", n_steps=30)
    declared = json.loads(study.read_text())
    declared["activations"] |= {"positions": "all", "training_texts": 400}
    study.write_text(json.dumps(declared), encoding="utf-8")
    done = run_emergence(tmp_path / "data", "run", study=study)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "data/tiny/saes/model=gloss-tinier/step=000006/layer=000"
    assert read_sae(folder / "seed=0")[0].threshold_n is not None
    (metrics,) = json.loads((folder / "metrics.json").read_text())["seeds"]
    assert 0 < metrics["kl_recovered"] <= 1
    assert metrics["loss_recovered"] is not None
    out = tmp_path / "exported"
    assert run_emergence(tmp_path / "data", "export", str(out), "--to", "sae_lens", study=study).returncode == 0
    assert "jumprelu" in (out / "README.md").read_text()
    refused = run_emergence(tmp_path / "data", "export", str(tmp_path / "no"), "--to", "sparsify", study=study)
    assert refused.returncode == 1
    assert "export for sae_lens" in refused.stderr


@pytest.mark.slow
@pytest.mark.long
def test_warm_starts_go_from_step_to_step(tmp_path: Path) -> None:
    sae = {"n_steps": 40, "seeds": [0, 1], "warm_start": {"n_steps": 10, "control_steps": [3]}}
    study, data = study_with(tmp_path, **sae), tmp_path / "data"
    stages = [part for stage in ("checkpoints", "activations", "saes") for part in ("--stage", stage)]
    done = run_emergence(data, "run", *stages, study=study)
    assert done.returncode == 0, done.stderr
    saes = data / "tiny/saes/model=gloss-tinier"

    def metrics(step: int) -> list[dict[str, object]]:
        return json.loads((saes / f"step={step:06d}/layer=000/metrics.json").read_text())["seeds"]

    assert [one["start"] for one in metrics(0)] == ["cold", "cold"]
    assert [one["start"] for one in metrics(6)] == ["warm", "warm"]
    assert all(one["cold_fvu"] is None for one in metrics(1))
    for one in metrics(3):
        assert one["kept_warm_frac"] > one["kept_cold_frac"]  # pyright: ignore[reportOperatorIssue]
    # The SAE of a warm start is an input: if one is lost, all later SAEs are made again.
    before = {
        step: (saes / f"step={step:06d}/layer=000/seed=0/sae_weights.safetensors").read_bytes() for step in (0, 6)
    }
    for file in (saes / "step=000001/layer=000").rglob("*"):
        if file.is_file():
            file.unlink()
    assert status_of(data, study)["sae"]["stale"] + status_of(data, study)["sae"]["missing"] == 3
    assert run_emergence(data, "run", *stages, study=study).returncode == 0
    after = {step: (saes / f"step={step:06d}/layer=000/seed=0/sae_weights.safetensors").read_bytes() for step in (0, 6)}
    assert before == after
