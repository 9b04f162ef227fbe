"""A study whose SAEs are trained on the user's documents: described, run, the same from disk and from memory."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from emergence_assets.texts.wordnet.corpus import documents, read_synsets
from tests.conftest import TINY, run_emergence
from tests.studies.test_retention import tables

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two files of documents, one of which holds a probe text."""
    folder = tmp_path_factory.mktemp("corpus")
    found = [text for text, _ in documents(read_synsets(), "training")[:400]]
    held_out = [text for text, _ in documents(read_synsets(), "heldout")[:400]]
    for name, part in (("a.jsonl", [*held_out, *found[:200]]), ("b.jsonl", found[200:])):
        (folder / name).write_text("".join(json.dumps({"content": text}) + "\n" for text in part))
    return folder


def study_on(folder: Path, texts: Path, retention: str, **changes: Any) -> Path:
    declared = yaml.safe_load(TINY.read_text()) | {
        "corpus": {"source": "files", "paths": str(texts / "*.jsonl"), "text_column": "content"},
        "activations": {"positions": "all", "training_tokens": 20_000, "retention": retention},
    }
    declared["sae"]["mixing_rows"] = 4000  # a fifth of the rows: streamed SAEs see five slabs
    declared["steps"], declared["layers"] = [0, 6], [0, 1]
    del declared["family"]["models"]["gloss-tinier"]
    path = folder / f"{retention}.yaml"
    path.write_text(yaml.safe_dump(declared | changes))
    return path


def test_rows_of_documents_give_the_same_tables_from_disk_and_from_memory(texts: Path, tmp_path: Path) -> None:
    made = {}
    for retention in ("keep", "stream"):
        data, study = tmp_path / retention, study_on(tmp_path, texts, retention)
        before = run_emergence(data, "probes", study=study)
        assert "20000 tokens of 2 files" in before.stdout.replace("\n", " ")
        forecast = json.loads(run_emergence(data, "storage", "--json", study=study).stdout)
        assert forecast["counts"]["n_rows"] == 20_000 // 31 * 31
        assert ("stream_memory" in forecast) == (retention == "stream")
        done = run_emergence(data, "run", study=study)
        assert done.returncode == 0, done.stderr
        assert ("memory of a worker that streams" in done.stdout) == (retention == "stream")
        made[retention] = tables(data)
        after = run_emergence(data, "probes", "--json", study=study)
        described = json.loads(after.stdout)["corpus"]
        assert "packed into contexts of 32 tokens" in described
        assert "share 13 words in a row with a probe text" in described
        assert ", without 0 that" not in described
    assert made["keep"] == made["stream"]
    # Counts of another corpus are not shown, although its contexts are as many.
    one_file = {"source": "files", "paths": str(texts / "a*"), "text_column": "content"}
    other = study_on(tmp_path, texts, "stream", corpus=one_file)
    changed = json.loads(run_emergence(data, "probes", "--json", study=other).stdout)["corpus"]
    assert "20000 tokens of 1 files" in changed
    assert "13 words" not in changed
    study = study_on(tmp_path, texts, "stream")
    card = run_emergence(data, "export", str(tmp_path / "out"), "--to", "sae_lens", "--step", "6", study=study)
    assert card.returncode == 0, card.stderr
    assert described in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.parametrize(
    ("activations", "what"),
    [
        pytest.param({"positions": "all"}, "activations.training_tokens is missing", id="no budget"),
        pytest.param(
            {"positions": "read_out", "training_tokens": 20_000},
            "set activations.positions to all",
            id="read-out",
        ),
        pytest.param(
            {"positions": "all", "training_tokens": 20_000, "training_texts": 5},
            "training_texts counts glosses",
            id="glosses",
        ),
        pytest.param({"positions": "all", "training_tokens": 90_000_000}, "has", id="too small"),
    ],
)
@pytest.mark.long
def test_a_corpus_that_cannot_be_used_ends_in_a_message(
    texts: Path, tmp_path: Path, activations: dict[str, Any], what: str
) -> None:
    study = study_on(tmp_path, texts, "keep", activations=activations)
    done = run_emergence(tmp_path / "data", "run", "--stage", "checkpoints", "--stage", "activations", study=study)
    assert done.returncode == 1
    assert what in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr
