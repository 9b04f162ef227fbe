"""A study as an RO-Crate: it contains every named file with the bytes of the study, and the origin of each."""

import json
import subprocess
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from rocrate.rocrate import ROCrate

from resources.files.provenance import Provenance
from tests.conftest import run_emergence

PEERS = Path(__file__).parents[2] / ".peers" / "bin" / "python"
# The validator loads the context of the vocabulary from the network: the test provides the part that the crate
# uses, and leaves out the two checks for its availability.
VALIDATE = """
import sys
import rdflib.plugins.shared.jsonld.context as context
from rocrate_validator import models, services
from rocrate_validator.utils.document_loader import install_document_loader
install_document_loader()  # once: otherwise the validator would put its own in the place of ours
vocabulary = {"@vocab": "http://schema.org/", "File": "http://schema.org/MediaObject"}
vocabulary["conformsTo"] = {"@id": "http://purl.org/dc/terms/conformsTo"}
load = context.source_to_json
def source_to_json(source, *rest, **named):
    is_vocabulary = isinstance(source, str) and "w3id.org/ro/crate" in source
    return ({"@context": vocabulary}, None) if is_vocabulary else load(source, *rest, **named)
context.source_to_json = source_to_json
settings = services.ValidationSettings(
    rocrate_uri=sys.argv[1],
    profile_identifier="process-run-crate-0.5",
    requirement_severity=models.Severity.REQUIRED,
    skip_checks=["ro-crate-1.1_3.1", "ro-crate-1.1_3.2"],
)
for issue in services.validate(settings).get_issues():
    print(issue.check.identifier, issue.message)
"""


@pytest.fixture(scope="module")
def crate_file(finished_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("crate") / "tiny.zip"
    licence = ("--licence", "https://creativecommons.org/licenses/by/4.0/")
    ended = run_emergence(finished_study, "export", str(path), "--to", "ro-crate", "--json", *licence)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["with_files"] > 20
    return path


@pytest.fixture(scope="module")
def crate(crate_file: Path) -> Any:
    return ROCrate(crate_file)


@pytest.mark.slow
@pytest.mark.xdist_group("crate")
def test_every_file_is_there_with_the_bytes_of_the_study(finished_study: Path, crate_file: Path, crate: Any) -> None:
    named = {unquote(entity.id) for entity in crate.data_entities}
    with zipfile.ZipFile(crate_file) as archive:
        assert archive.testzip() is None
        assert named - {"study.yaml", "records.jsonl"} <= set(archive.namelist())
        for name in archive.namelist():
            stored = finished_study / "tiny" / name
            if stored.is_file():
                assert archive.read(name) == stored.read_bytes()
    tables = {path.relative_to(finished_study / "tiny").as_posix() for path in finished_study.rglob("claims.parquet")}
    assert tables | {"tables/category_presence/model=gloss-tiny.parquet"} <= named
    assert not any(name.startswith(("checkpoints/", "activations/", "saes/")) for name in named)


@pytest.mark.slow
@pytest.mark.xdist_group("crate")
def test_a_claim_leads_back_to_the_weights(crate: Any) -> None:
    made = {one["result"].id: one for one in crate.contextual_entities if one.type == "CreateAction"}
    pending, seen = ["tables/claims.parquet"], set[str]()
    while pending:
        name = pending.pop()
        if name in made and name not in seen:
            assert made[name]["instrument"].id == "#emergence-assets"
            pending += [one.id for one in made[name]["object"]]
        seen.add(name)
    assert "tables/category_presence/model%3Dgloss-tiny.parquet" in seen
    assert "#latent_stats/gloss-tiny/step000006/L01" in seen
    assert crate.dereference("#latent_stats/gloss-tiny/step000006/L01")["identifier"]


@pytest.mark.slow
@pytest.mark.xdist_group("crate")
def test_records_and_software_are_in_it(crate_file: Path, crate: Any) -> None:
    with zipfile.ZipFile(crate_file) as archive:
        lines = archive.read("records.jsonl").decode().splitlines()
    records = [Provenance.from_json(line, "records.jsonl") for line in lines]
    weights = [record for record in records if record.required.asset == "checkpoint"]
    assert {"weights_sha256"} <= weights[0].required.recipe.keys()
    needs = {one["name"] for one in crate.dereference("#emergence-assets")["softwareRequirements"]}
    assert {"torch", "numpy", "polars", "python"} <= needs
    assert crate.license.id == "https://creativecommons.org/licenses/by/4.0/"


@pytest.mark.slow
@pytest.mark.xdist_group("crate")
def test_further_files_are_included_on_request(finished_study: Path, tmp_path: Path) -> None:
    path = tmp_path / "more.zip"
    ended = run_emergence(finished_study, "export", str(path), "--to", "ro-crate", "--include", "sae")
    assert ended.returncode == 0, ended.stderr
    with zipfile.ZipFile(path) as archive:
        assert any(name.startswith("saes/") and name.endswith(".safetensors") for name in archive.namelist())
    refused = run_emergence(finished_study, "export", str(path), "--to", "ro-crate", "--include", "weights")
    assert refused.returncode == 1
    assert "no asset 'weights'" in refused.stderr


@pytest.mark.peers
def test_the_crate_is_valid(crate_file: Path) -> None:
    ended = subprocess.run([str(PEERS), "-c", VALIDATE, str(crate_file)], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, ""), ended.stdout + ended.stderr
