"""The loss on the fixed text: what it is, what it does not depend on, and what makes it impossible."""

import json
import math
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from emergence_assets.checkpoints.identity.measurement import Measurement
from emergence_assets.checkpoints.models.fixed_text import N_TOKENS, WINDOW, fixed_text_loss
from emergence_assets.checkpoints.models.loading import load_model
from emergence_assets.texts.wordnet import corpus
from resources.errors import BrokenCheckpoint
from tests.family import STEPS, step_folder

CONTEXT = 32


@pytest.fixture
def checkpoint(family_copy: Path) -> Path:
    return step_folder(family_copy, "gloss-tiny", 16)


@pytest.fixture
def model(checkpoint: Path) -> PreTrainedModel:
    torch.set_num_threads(1)
    return load_model(checkpoint)


def changed_tokenizer(checkpoint: Path, **parts: object) -> Path:
    path = checkpoint / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | parts), "utf-8")
    return path


def test_it_is_the_mean_over_windows_of_heldout_glosses(checkpoint: Path, model: PreTrainedModel) -> None:
    tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
    rows = corpus.synsets_of("heldout").head(300)
    text = "".join(map(corpus.synset_text, rows["lemmas"].to_list(), rows["definition"]))
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    losses = []
    for start in range(0, 40 * CONTEXT, CONTEXT):
        window = torch.tensor(ids[start : start + CONTEXT])
        with torch.no_grad():
            logits = model(input_ids=window[None]).logits[0]
        losses += cross_entropy(logits[:-1], window[1:], reduction="none").tolist()
    found = fixed_text_loss(model, checkpoint / "tokenizer.json", n_tokens=40 * (CONTEXT - 1))
    assert found == pytest.approx(sum(losses) / len(losses), rel=1e-5)


def test_an_untrained_model_is_at_chance_and_training_lowers_it(clean: dict[int, Measurement]) -> None:
    losses = [clean[step].loss for step in STEPS]
    assert losses[0] == pytest.approx(math.log(clean[0].facts.vocab_size), rel=0.05)
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0] - 0.5


def test_it_is_a_function_of_the_weights(checkpoint: Path, model: PreTrainedModel) -> None:
    tokenizer = checkpoint / "tokenizer.json"
    assert fixed_text_loss(model, tokenizer) == fixed_text_loss(load_model(checkpoint), tokenizer)


def test_more_text_than_that_changes_it_by_no_more_than_its_error(checkpoint: Path, model: PreTrainedModel) -> None:
    tokenizer = checkpoint / "tokenizer.json"
    assert fixed_text_loss(model, tokenizer) == pytest.approx(fixed_text_loss(model, tokenizer, 3 * N_TOKENS), abs=0.15)


def test_what_a_tokenizer_adds_and_cuts_by_itself_is_not_done(checkpoint: Path, model: PreTrainedModel) -> None:
    before = fixed_text_loss(model, checkpoint / "tokenizer.json")
    padding = {"strategy": {"Fixed": 9000}, "direction": "Right", "pad_to_multiple_of": None}
    path = changed_tokenizer(
        checkpoint,
        truncation={"max_length": 8, "strategy": "LongestFirst", "stride": 0, "direction": "Right"},
        padding=padding | {"pad_id": 0, "pad_type_id": 0, "pad_token": "<|endoftext|>"},
    )
    assert fixed_text_loss(model, path) == before


def test_windows_are_no_longer_than_the_context(checkpoint: Path, model: PreTrainedModel) -> None:
    seen = []
    model.register_forward_pre_hook(
        lambda _module, _args, kwargs: seen.append(kwargs["input_ids"].shape), with_kwargs=True
    )
    fixed_text_loss(model, checkpoint / "tokenizer.json")
    assert CONTEXT < WINDOW
    assert {shape[1] for shape in seen} == {CONTEXT}
    n_predicted = sum(shape[0] * (shape[1] - 1) for shape in seen)
    assert N_TOKENS - CONTEXT < n_predicted <= N_TOKENS


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"model": {"type": "BPE"}}'])
def test_a_damaged_tokenizer_is_refused(checkpoint: Path, model: PreTrainedModel, text: str) -> None:
    path = checkpoint / "tokenizer.json"
    path.write_text(text)
    with pytest.raises(BrokenCheckpoint, match="cannot read the tokenizer"):
        fixed_text_loss(model, path)


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(checkpoint: Path, model: PreTrainedModel) -> None:
    path = checkpoint / "tokenizer.json"
    vocabulary = {chr(letter): 5000 + letter for letter in range(32, 127)} | {"[UNK]": 0}
    larger = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    larger.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    larger.save(str(path))
    with pytest.raises(BrokenCheckpoint, match=r"token 5\d\d\d, the model has 2048") as refused:
        fixed_text_loss(model, path)
    assert "this model" in refused.value.remedy


def test_a_tokenizer_that_makes_next_to_nothing_of_the_text_is_refused(
    checkpoint: Path, model: PreTrainedModel
) -> None:
    path = checkpoint / "tokenizer.json"
    Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]")).save(str(path))
    with pytest.raises(BrokenCheckpoint, match="makes 1 tokens"):
        fixed_text_loss(model, path)


def test_a_loss_that_is_not_finite_is_refused(checkpoint: Path, model: PreTrainedModel) -> None:
    model.get_output_embeddings().weight.fill_(math.nan)
    with pytest.raises(BrokenCheckpoint, match="not finite"):
        fixed_text_loss(model, checkpoint / "tokenizer.json")


def test_a_model_that_cannot_be_run_is_refused(checkpoint: Path, model: PreTrainedModel) -> None:
    with pytest.raises(BrokenCheckpoint, match="cannot be run: AttributeError"):
        fixed_text_loss(model.base_model, checkpoint / "tokenizer.json")  # pyright: ignore[reportArgumentType]


def test_a_lack_of_memory_is_not_held_against_the_checkpoint(checkpoint: Path, model: PreTrainedModel) -> None:
    def run_out(*_: object) -> None:
        raise torch.OutOfMemoryError("device is full")

    model.register_forward_pre_hook(run_out)
    with pytest.raises(torch.OutOfMemoryError):
        fixed_text_loss(model, checkpoint / "tokenizer.json")
