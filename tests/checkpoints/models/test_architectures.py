"""Every class that transformers loads as a language model or an encoder is studied rightly, or refused with a reason.

The expectations are the table of `docs/checkpoints.md`: all classes work but those listed here. A test that fails after
an update of transformers names the class; correct the list and the documentation, or mend the reader.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from transformers import PreTrainedModel

from emergence_assets.activations.forward.capture import capture_checkpoint
from emergence_assets.activations.forward.equal_lengths import text_read_outs
from emergence_assets.checkpoints.facts import ModelFacts
from emergence_assets.checkpoints.files.folder import check_whole
from emergence_assets.checkpoints.models.blocks import blocks
from emergence_assets.checkpoints.models.facts import embedding_norm, model_facts
from emergence_assets.checkpoints.models.fixed_text import mean_loss
from emergence_assets.checkpoints.models.loading import is_causal, load_model
from emergence_assets.checkpoints.models.stream import changed_stream, residual_stream, run_texts, run_up_to
from emergence_assets.checkpoints.models.support import require_supported
from emergence_assets.texts.tokens import Tokens
from resources.errors import UnsupportedModel
from tests.architectures import D_MODEL, N_LAYERS, VOCABULARY, encoders, language_models, save, tiny_model

DOCUMENTED = Path(__file__).parents[3] / "docs" / "checkpoints.md"
TRANSFORMERS, DATE = "5.23.0", "2026-11-30"
"""Version with which the table was made, and the date."""
WIDE = "output is not one vector of width d_model per token"
ENCODER_DECODER = "encoder-decoder: two residual streams"
PADDING = "values depend on padding"
TWICE = "blocks run more than once, or do not run as modules"
BETWEEN = "computes between its blocks"
PARTS = "several lists of blocks, or none"
OTHER = "not one sequence of tokens"
BEYOND = "blocks pass on more than their output"
REASONS = {
    WIDE: "has blocks whose output is",
    ENCODER_DECODER: "is an encoder-decoder",
    PADDING: "padded on the right",
    TWICE: "in another order than once each",
    BETWEEN: "adds something between its blocks",
    PARTS: "lists of modules that may be its blocks",
    OTHER: "no model of one sequence of tokens",
    BEYOND: "no single residual stream",
}
"""Reason of the table to a part of the message."""
NOT_SUPPORTED = {
    WIDE: (
        *("CpmAntForCausalLM", "DeepseekV4ForCausalLM", "Gemma3nForCausalLM", "HYV4ForCausalLM"),
        *("LongformerForMaskedLM", "ProphetNetForCausalLM", "Qwen4ExpForCausalLM", "XLNetLMHeadModel"),
    ),
    ENCODER_DECODER: ("BartForConditionalGeneration", "MBartForConditionalGeneration", "MvpForConditionalGeneration"),
    PADDING: (
        *("ConvBertForMaskedLM", "FNetForMaskedLM", "MobileBertForMaskedLM", "NystromformerForMaskedLM"),
        "YosoForMaskedLM",
    ),
    TWICE: ("AlbertForMaskedLM", "FunnelForMaskedLM", "SqueezeBertForMaskedLM"),
    BETWEEN: ("FlaubertWithLMHeadModel", "XLMWithLMHeadModel"),
    PARTS: ("BltForCausalLM", "HrmTextForCausalLM"),
    OTHER: ("MusicgenForCausalLM", "MusicgenMelodyForCausalLM", "PerceiverForMaskedLM"),
    BEYOND: ("Inkling2ForCausalLM", "ReformerForMaskedLM", "ReformerModelWithLMHead"),
}
NOT_TRIED = {
    "Gemma3nForConditionalGeneration": "needs pillow and timm",
    "Gemma4AssistantForCausalLM": "reads the states of another model",
    "Gemma4UnifiedAssistantForCausalLM": "reads the states of another model",
}
SIDE_INPUTS = {
    **dict.fromkeys(
        ("Gemma4ForCausalLM", "Gemma4ForConditionalGeneration"), "every block also reads an embedding of the token"
    ),
    **dict.fromkeys(("Zamba2ForCausalLM", "ZambaForCausalLM"), "shared blocks also read the embedding"),
    "NeoMMEForMaskedLM": "two blocks also read an embedding of the token",
    "ZayaForCausalLM": "routers also read the router before",
}
"""Supported classes in which the residual stream is not all that later blocks read."""
TYPICAL = (
    *("BertForMaskedLM", "BertLMHeadModel", "BloomForCausalLM", "GPT2LMHeadModel", "GPTNeoForCausalLM"),
    *("Gemma2ForCausalLM", "Gemma3ForConditionalGeneration", "GptOssForCausalLM", "JambaForCausalLM"),
    *("LlamaForCausalLM", "MambaForCausalLM", "OPTForCausalLM", "OpenAIGPTLMHeadModel", "RwkvForCausalLM"),
    *("XGLMForCausalLM", "AlbertForMaskedLM", "BartForConditionalGeneration", "XLNetLMHeadModel"),
)
"""Classes of the fast tests; all others are tried by the long test."""
EMBEDDING_LEFT_OUT = ("FalconMambaForCausalLM", "Mamba2ForCausalLM", "MambaForCausalLM", "RwkvForCausalLM")
"""Classes whose hidden states begin with the output of the first block, not with its input."""
TEXTS = Tokens(
    training_text_id=("unused",),
    training_ids=(np.array([9, 12], np.int32),),
    probe_text_id=("longer", "shorter"),
    probe_ids=(np.array([9, 12, 7, 30, 22, 8, 15, 11], np.int32), np.array([14, 6, 10, 31, 21], np.int32)),
    positions="all",
    context=16,
)


def expected(name: str) -> str:
    """Return the reason why a class is not supported; empty if it works."""
    return next((reason for reason, names in NOT_SUPPORTED.items() if name in names), "")


def loaded(folder: Path) -> tuple[PreTrainedModel, ModelFacts]:
    """Load a checkpoint as a measurement does, with all its refusals."""
    check_whole(folder)
    model = load_model(folder)
    facts = model_facts(model)
    require_supported(model, folder / "tokenizer.json")
    return model, facts


def problem_of(name: str, folder: Path) -> str:
    """Store a tiny model and study it; return the reason of a refusal, empty if every value is right."""
    save(tiny_model(name), folder)
    try:
        model, facts = loaded(folder)
    except UnsupportedModel as refused:
        return str(refused)
    assert (facts.d_model, facts.vocab_size) == (D_MODEL, VOCABULARY)
    assert facts.n_layers == len(blocks(model)) >= N_LAYERS
    assert 0 < facts.n_params_nonemb < facts.n_params
    assert embedding_norm(model) > 0
    if is_causal(model):
        assert mean_loss(model, [torch.from_numpy(TEXTS.probe_ids[0]).long()[None]]) > 0
    compare_with_hidden_states(model, range(facts.n_layers), 0 if name in EMBEDDING_LEFT_OUT else 1)
    if name not in SIDE_INPUTS:
        require_stream_determines_the_rest(model, facts.n_layers - 1)
    require_stop_after_a_layer(model, facts.n_layers - 1)
    return ""


def require_stop_after_a_layer(model: PreTrainedModel, last: int) -> None:
    """Run a text up to a layer: its stream is the same bit for bit, and later blocks do not run."""
    every, ids_bt = range(-1, last + 1), torch.tensor([[9, 12, 7, 30, 22]])
    with torch.inference_mode():
        with residual_stream(model, every) as stream:
            run_texts(model, ids_bt)
            whole = dict(stream)
        for layer in every:
            with residual_stream(model, every) as stream:
                run_up_to(model, layer, ids_bt)
                assert sorted(stream) == list(range(-1, layer + 1))
                assert all(torch.equal(stream[one], whole[one]) for one in stream)


def compare_with_hidden_states(model: PreTrainedModel, layers: range, first: int) -> None:
    """Compare the read-outs of a padded batch, and those of texts alone, with hidden states of unpadded passes.

    Hidden state `first` + i is the output of block i; the last one may be after the final norm and is left out.
    """
    captured = {layer: np.empty(0) for layer in layers}

    def append(layer: int, name: str, rows_td: np.ndarray) -> None:
        if name == "read_out":
            captured[layer] = rows_td

    capture_checkpoint(model, TEXTS, layers, append, "float32", training_texts=())
    alone = text_read_outs(model, TEXTS.probe_ids, layers, 1, "cpu")
    options = {"use_cache": False} if is_causal(model) else {}
    for row, ids in enumerate(TEXTS.probe_ids):
        ids_1t = torch.from_numpy(ids).long()[None]
        with torch.inference_mode():
            output = model.base_model(input_ids=ids_1t, output_hidden_states=True, **options)
        for layer in layers[:-1]:
            own = output.hidden_states[first + layer][0, -1]
            most = 1e-4 * float(own.abs().max())
            torch.testing.assert_close(torch.from_numpy(captured[layer][row]), own, rtol=0, atol=most)
            torch.testing.assert_close(alone[layer][row], own, rtol=0, atol=most)
        last = alone[layers[-1]][row]
        found = torch.from_numpy(captured[layers[-1]][row])
        torch.testing.assert_close(found, last, rtol=0, atol=1e-4 * float(last.abs().max()))


def require_stream_determines_the_rest(model: PreTrainedModel, last: int) -> None:
    """Put the first block's output of one text in place of that of another: the last block then writes the former's."""
    one_bt, other_bt = torch.tensor([[9, 12, 7, 30, 22]]), torch.tensor([[14, 6, 10, 31, 21]])
    with torch.inference_mode(), residual_stream(model, (0, last)) as stream:
        run_texts(model, one_bt)
        early_btd, late_btd = stream[0], stream[last]
        with changed_stream(model, {0: lambda _: early_btd}):
            run_texts(model, other_bt)
        torch.testing.assert_close(stream[last], late_btd, rtol=0, atol=1e-4 * float(late_btd.abs().max()))


@pytest.mark.parametrize("name", TYPICAL)
def test_typical_classes_are_studied_rightly_or_refused_with_a_reason(name: str, tmp_path: Path) -> None:
    require_expected(name, problem_of(name, tmp_path))


@pytest.mark.long
@pytest.mark.parametrize("name", sorted({*language_models(), *encoders()} - {*TYPICAL, *NOT_TRIED}))
def test_all_classes_are_studied_rightly_or_refused_with_a_reason(name: str, tmp_path: Path) -> None:
    require_expected(name, problem_of(name, tmp_path))


def require_expected(name: str, problem: str) -> None:
    """Fail if a class is refused unexpectedly, works unexpectedly, or is refused for another reason."""
    reason = expected(name)
    assert bool(problem) == bool(reason), f"{name}: expected {reason or 'to work'}, found {problem or 'that it works'}"
    assert not reason or REASONS[reason] in problem, f"{name}: expected {reason}, found {problem}"
    assert "delete" not in problem


def test_an_encoder_without_a_causal_mask_is_no_language_model(tmp_path: Path) -> None:
    model = tiny_model("BertLMHeadModel")
    model.config.is_decoder = False
    save(model, tmp_path)
    with pytest.raises(UnsupportedModel, match="positions depend on later ones"):
        loaded(tmp_path)


def test_a_model_type_that_transformers_does_not_know_is_not_supported(tmp_path: Path) -> None:
    save(tiny_model("LlamaForCausalLM"), tmp_path)
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace('"llama"', '"llama9"'))
    with pytest.raises(UnsupportedModel, match="does not know the model type 'llama9'"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("name", "why"),
    [("T5ForConditionalGeneration", "encoder-decoder"), ("ViTModel", "no model of one sequence of tokens")],
    ids=["t5", "vit"],
)
def test_models_that_are_no_stack_of_blocks_over_tokens_are_not_supported(name: str, why: str, tmp_path: Path) -> None:
    save(tiny_model(name), tmp_path)
    with pytest.raises(UnsupportedModel, match=why):
        loaded(tmp_path)


def test_the_width_of_the_embedding_may_differ_from_that_of_the_stream(tmp_path: Path) -> None:
    kind = transformers.OPTForCausalLM
    config = tiny_model("OPTForCausalLM").config
    config.word_embed_proj_dim = 8  # as in OPT-350m
    config.do_layer_norm_before = False
    save(kind(config).eval(), tmp_path)
    model, facts = loaded(tmp_path)
    assert facts.d_model == D_MODEL
    compare_with_hidden_states(model, range(N_LAYERS), 1)


def documented_table() -> str:
    """Return the table of `docs/checkpoints.md`."""
    names = {*language_models(), *encoders()}
    refused = {name for names in NOT_SUPPORTED.values() for name in names}
    n_models, n_encoders = (len({*kinds} - refused - {*NOT_TRIED}) for kinds in (language_models(), encoders()))
    lines = [
        f"Tried with tiny models of all classes of transformers {TRANSFORMERS}, {DATE}: {n_models} language models and "
        f"{n_encoders} encoders (of {len(names)} classes) work, and the rest does not:",
        "",
        "| classes | not supported because |",
        "|---|---|",
        *(f"| {_short(refused)} | {reason} |" for reason, refused in NOT_SUPPORTED.items()),
        *(f"| {_short([name])} | not tried: {why} |" for name, why in NOT_TRIED.items()),
    ]
    return "\n".join(lines)


def _short(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))


def test_the_documentation_has_the_table() -> None:
    assert documented_table() in DOCUMENTED.read_text("utf-8"), documented_table()


def test_the_lists_name_classes_of_transformers() -> None:
    listed = {*TYPICAL, *NOT_TRIED, *SIDE_INPUTS, *EMBEDDING_LEFT_OUT}
    listed |= {name for names in NOT_SUPPORTED.values() for name in names}
    assert listed <= {*language_models(), *encoders()}
