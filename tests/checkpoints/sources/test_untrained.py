"""A family without a step 0 gets one with random weights of its architecture; the rest of it stays as it is."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch

from emergence_assets.checkpoints.files.folder import read_facts
from emergence_assets.checkpoints.identity.measurement import Measurement
from emergence_assets.checkpoints.identity.validation import validate_checkpoints
from emergence_assets.checkpoints.models.loading import load_model
from emergence_assets.checkpoints.models.untrained import write_untrained
from emergence_assets.checkpoints.sources.of_family import source_arguments, source_from
from emergence_assets.checkpoints.sources.source import CheckpointRef, Source
from emergence_assets.checkpoints.sources.untrained import WithUntrained
from emergence_assets.plan.timeline import MADE_HERE
from emergence_assets.study.family import Local
from resources.errors import EmergenceError
from resources.files.storage import Storage
from tests.architectures import save, tiny_model
from tests.checkpoints.sources.hub_family import MODEL, SHAPES
from tests.family import STEPS, step_folder
from tests.measured import measured

QUIET = lambda *_: None  # noqa: E731


@pytest.fixture
def late(root: Path) -> Path:
    """The family without its step 0."""
    shutil.rmtree(step_folder(root, MODEL, 0))
    return root


def source_over(root: Path, **more: object) -> Source:
    declared = {"source": "local", "root": str(root), "tokens_per_step": 64, "models": SHAPES, "settle_seconds": 0.0}
    family = Local.model_validate(declared | {"untrained": True} | more)
    return source_from(source_arguments(family, Storage(root.parent / "data", "study")))


def first(source: Source) -> CheckpointRef:
    return source.list(MODEL).checkpoints[0]


def test_a_step_0_is_listed_before_the_steps_of_the_source(late: Path) -> None:
    refs = source_over(late).list(MODEL).checkpoints
    assert [ref.step for ref in refs] == [0, 8, 64]
    assert (refs[0].location, refs[0].revision) == (MADE_HERE, "random weights, seed 0")
    assert refs[1:] == source_over(late, untrained=False).list(MODEL).checkpoints
    assert first(source_over(late)).identity == refs[0].identity
    assert first(source_over(late, untrained_seed=1)).identity != refs[0].identity


@pytest.mark.parametrize("broken", [False, True])
def test_a_step_0_of_the_source_is_never_replaced(root: Path, broken: bool) -> None:
    if broken:
        (step_folder(root, MODEL, 0) / "tokenizer.json").unlink()
    listing = source_over(root).list(MODEL)
    assert MADE_HERE not in {ref.location for ref in listing.checkpoints}
    assert set(listing.incomplete) == ({0} if broken else set())


def test_a_model_without_checkpoints_gets_none(late: Path) -> None:
    shutil.rmtree(late / MODEL)
    assert source_over(late).list(MODEL).checkpoints == ()


def test_its_weights_are_those_of_the_library_and_its_files_those_of_the_model(late: Path) -> None:
    source = source_over(late)
    ref = first(source)
    assert not source.is_cached(ref)
    with source.fetch(ref, QUIET) as folder:
        trained = step_folder(late, MODEL, 8)
        for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
            assert (folder / name).read_bytes() == (trained / name).read_bytes()
        facts, other = read_facts(folder), read_facts(trained)
        assert (facts.architecture, facts.tokenizer_sha256) == (other.architecture, other.tokenizer_sha256)
        made, published = source.load(ref, folder, "cpu", torch.float32), load_model(trained)
        assert {name: w.shape for name, w in made.named_parameters()} == {
            name: w.shape for name, w in published.named_parameters()
        }
        weight = made.get_input_embeddings().weight
        assert float(weight.std()) == pytest.approx(made.config.initializer_range, rel=0.05)
        assert torch.equal(weight, weight.half().float()), "stored in half precision, as the published weights"
        sha256 = facts.weights_sha256
    assert source.is_cached(ref)
    shutil.rmtree(late.parent / "data")
    with source_over(late).fetch(ref, QUIET) as folder:
        assert read_facts(folder).weights_sha256 == sha256
    with source_over(late, untrained_seed=1).fetch(first(source_over(late, untrained_seed=1)), QUIET) as folder:
        assert read_facts(folder).weights_sha256 != sha256


def test_deleting_the_first_checkpoint_changes_no_identity_and_another_config_does(late: Path) -> None:
    ref = first(source_over(late))
    shutil.rmtree(step_folder(late, MODEL, 8))
    assert first(source_over(late)) == ref
    config = step_folder(late, MODEL, 64) / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"initializer_range": 0.5}))
    changed = first(source_over(late))
    assert changed.identity != ref.identity
    with pytest.raises(EmergenceError, match="not there any more"), source_over(late).fetch(ref, QUIET):
        pass


def test_identity_rules_take_it_neither_for_a_stranger_nor_for_trained(late: Path, family: Path) -> None:
    source = source_over(late, untrained_seed=5)  # the family began at seed 0
    with source.fetch(first(source), QUIET) as folder:
        made = measured(folder)
    assert isinstance(made, Measurement)
    steps = {0: made} | {step: measured(step_folder(family, MODEL, step)) for step in STEPS if step}
    assert {one.status for one in validate_checkpoints(steps, made_here=[0]).values()} == {"ok"}
    assert validate_checkpoints(steps)[0].status == "outlier", "of another run, if it were not known"
    trained = steps | {0: steps[64]}
    assert validate_checkpoints(trained, made_here=[0])[0].status == "duplicate"


@pytest.mark.parametrize(
    "kind",
    [
        "LlamaForCausalLM",
        "GPT2LMHeadModel",
        "BertForMaskedLM",
        "MixtralForCausalLM",
        "MambaForCausalLM",
        "Gemma2ForCausalLM",
    ],
)
def test_every_kind_of_architecture_can_be_made_untrained(tmp_path: Path, kind: str) -> None:
    trained = tmp_path / "trained"
    save(tiny_model(kind), trained)
    hashes = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        write_untrained(trained, tmp_path / name, seed=3)
        load_model(tmp_path / name)
        weights = b"".join(path.read_bytes() for path in sorted((tmp_path / name).glob("*.safetensors")))
        hashes.append(hashlib.sha256(weights).hexdigest())
    assert hashes[0] == hashes[1]


def test_the_pins_of_a_hub_pass_through(late: Path) -> None:
    source = WithUntrained(source_over(late, untrained=False), Storage(late.parent / "data", "study"), 0)
    assert source.is_pinned(MODEL)
    assert source.lock_file is None
    assert not source.can_refresh
    with pytest.raises(EmergenceError, match="no commits"):
        source.refresh([MODEL])
