"""A small study up to the tables about last checkpoints: one model is deep enough for a mechanism, one is not."""

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
import yaml

from emergence_assets.emergence.mechanism.spec import REACTIVATION_MECHANISM as SPEC
from emergence_assets.emergence.mechanism.table import REACTIVATION_MECHANISM
from emergence_assets.orchestration.build import build_definitions
from emergence_assets.pipeline import specs_for
from emergence_assets.study.load import parse_study
from resources.files.plain_yaml import read_yaml
from resources.files.storage import Storage
from resources.tables.expectations import validate
from resources.tables.parquet import parquet_provenance
from resources.tables.relation import with_relations
from tests.conftest import TINY, run_emergence, status_of

GOOD = {"share_carried": 0.5, "share_attn": 0.7, "share_mlp": -0.2, "cdi": 0.3, "cdi_lo": 0.2, "cdi_hi": 0.4}


@pytest.fixture(scope="module")
def deep_study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Data folder and study file."""
    folder = tmp_path_factory.mktemp("deep")
    declared = dict(read_yaml(TINY)) | {"name": "deep", "steps": [0, 6], "mechanism": {"n_categories": 4}}
    declared["compression"] = {"variants": ["int8", "int4"]}
    declared["family"] = declared["family"] | {
        "models": {
            "gloss-deep": {"d_model": 16, "n_layers": 3, "n_heads": 2, "learning_rate": 1.0e-2},
            "gloss-flat": {"d_model": 8, "n_layers": 1, "n_heads": 2, "learning_rate": 1.0e-2},
        }
    }
    declared["sae"] = declared["sae"] | {"seeds": [0, 1]}
    study = folder / "deep.yaml"
    study.write_text(yaml.safe_dump(declared), encoding="utf-8")
    finished = run_emergence(folder, "run", study=study)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return folder, study


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.xdist_group("deep-study")
def test_a_study_has_a_mechanism_and_names_models_without_one(deep_study: tuple[Path, Path]) -> None:
    data, study = deep_study
    table = data / "deep" / "tables" / "reactivation_mechanism"
    deep = pl.read_parquet(table / "model=gloss-deep.parquet")
    assert len(deep) == 4
    assert deep.select("early_layer", "trough_layer", "late_layer").unique().row(0) == (0, 1, 2)
    assert deep["undefined_because"].is_in(["none", "contrast"]).all()
    assert deep["contrast"].is_finite().all()
    assert (deep["n_seeds"] == 2).all()
    assert (deep["early_rate"] > 0).any()
    assert (deep["n_texts"] >= 5).all()
    sums = deep.select(pl.sum_horizontal("share_carried", "share_attn", "share_mlp", ignore_nulls=False)).to_series()
    assert sums.drop_nulls().to_list() == pytest.approx([1] * sums.drop_nulls().len(), abs=1e-5)
    assert deep["share_attn"].is_null().to_list() == (deep["undefined_because"] == "contrast").to_list()
    flat = pl.read_parquet(table / "model=gloss-flat.parquet")
    assert flat["undefined_because"].to_list() == ["layers"]
    assert all(entry["done"] == entry["total"] for entry in status_of(data, study).values())


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.xdist_group("deep-study")
def test_compression_is_measured_on_request(deep_study: tuple[Path, Path]) -> None:
    data, _ = deep_study
    tables = data / "deep" / "tables" / "compression_retention"
    deep, flat = (pl.read_parquet(tables / f"model={name}.parquet") for name in ("gloss-deep", "gloss-flat"))
    assert (len(deep), len(flat)) == (5 * 3 + 3, 5 * 1 + 1)
    own = deep.filter(pl.col("variant") == "none")
    assert own["mean_drop"].abs().max() == 0
    presence = pl.read_parquet(data / "deep" / "tables" / "category_presence" / "model=gloss-deep.parquet")
    expected = (
        presence.filter(pl.col("step") == 6, pl.col("control_id") == "none", pl.col("category_level") == "subject")
        .group_by("layer")
        .agg(pl.col("p_best").mean())
        .sort("layer")
    )
    # The same latents on the same texts, read from the model instead of half-precision files.
    assert own.sort("layer")["p_model"].to_list() == pytest.approx(expected["p_best"].to_list(), abs=0.01)
    int8 = deep.filter(pl.col("variant") == "int8", pl.col("control_id") == "none")
    assert (int8["relative_norm"] < 0.01).all()
    assert all(abs(delta) < 0.01 for delta in int8["loss_delta"])
    stored = parquet_provenance(tables / "model=gloss-deep.parquet")
    assert stored is not None
    assert {name for name in stored.summary if name.startswith("retention_skip")} == set()
    assert {"retention_int8", "retention_int4"} <= stored.summary.keys()


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.xdist_group("deep-study")
def test_a_second_run_makes_nothing_and_another_option_only_what_depends_on_it(deep_study: tuple[Path, Path]) -> None:
    data, study = deep_study
    again = run_emergence(data, "run", study=study)
    assert "nothing to do" in again.stdout
    declared = read_yaml(study) | {"mechanism": {"n_categories": 2}}
    study.write_text(yaml.safe_dump(declared), encoding="utf-8")
    status = status_of(data, study)
    assert {name for name, entry in status.items() if entry["done"] < entry["total"]} == {
        "reactivation_mechanism",
        "claims",
        "emergence_hazard",
        "report",
    }


@pytest.mark.parametrize(
    ("check", "damage"),
    [
        ("shares_add_up", {"share_mlp": 0.2}),
        ("values_are_in_range", {"cdi": 1.5}),
        ("values_are_in_range", {"cdi_lo": 0.45}),
        ("values_are_in_range", {"undefined_because": "unknown"}),
        ("values_are_present", {"undefined_because": None}),
        ("keys_are_unique", {"category": "bird"}),
    ],
    ids=lambda value: str(value),
)
def test_data_broken_in_one_way_fails_exactly_its_check(check: str, damage: dict) -> None:
    row = dict.fromkeys(REACTIVATION_MECHANISM.schema) | GOOD
    row |= {"model": "m", "step": 9, "category_level": "subject", "category": "bird", "undefined_because": "none"}
    row |= {"n_boot": 20, "data_version": "v", "n_params_nonemb": 9, "tokens_seen": 90, "n_layers": 6}

    def failed(second: dict) -> set[str]:
        frame = pl.DataFrame([row, row | {"category": "fish"} | second], schema=REACTIVATION_MECHANISM.schema)
        ready = with_relations(frame.drop("top_heads"), SPEC.relations)
        return {finding.check.name for finding in validate(ready, SPEC.checks) if not finding.passed}

    assert failed({}) == set()
    assert failed(damage) == {check}


def test_compression_is_an_asset_only_on_request() -> None:
    declared = read_yaml(TINY)
    without, asked = (parse_study(declared | extra) for extra in ({}, {"compression": {}}))
    assert {spec.name for spec in specs_for(asked)} - {spec.name for spec in specs_for(without)} == {
        "compression_retention"
    }
    graphs = [
        build_definitions(study, Storage(Path("data"), study.name)).resolve_asset_graph() for study in (without, asked)
    ]
    first, second = ({key.path[-1] for key in graph.get_all_asset_keys()} for graph in graphs)
    assert second - first == {"compression_retention"}


def test_rules_are_read_without_torch() -> None:
    program = "import emergence_assets.emergence.compression.spec, emergence_assets.emergence.mechanism.spec, sys"
    subprocess.run([sys.executable, "-c", program + "; assert not {'torch', 'numpy'} & set(sys.modules)"], check=True)
