"""Captured rows are the block outputs, in the order of the tokens, for every batching."""

import contextlib
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from emergence_assets.activations.files.background import BackgroundWriter
from emergence_assets.activations.files.layout import ActivationSpec
from emergence_assets.activations.files.reading import open_rows, verify_file
from emergence_assets.activations.files.writing import ActivationWriter
from emergence_assets.activations.forward.capture import capture_checkpoint
from emergence_assets.checkpoints.models.stream import residual_stream
from emergence_assets.texts.tokens import Positions, Tokens
from resources.errors import EmergenceError

LAYERS = (-1, 0, 1, 2)
D_MODEL, VOCABULARY, CONTEXT = 16, 40, 12


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def model() -> GPTNeoXForCausalLM:
    torch.manual_seed(0)
    config = GPTNeoXConfig(
        vocab_size=VOCABULARY,
        hidden_size=D_MODEL,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=CONTEXT,
        hidden_dropout=0.5,
        initializer_range=0.5,
    )
    return GPTNeoXForCausalLM(config).eval()


def some_tokens(positions: Positions = "all", n_training=9, n_probes=7) -> Tokens:
    random = np.random.default_rng(3)

    def texts(n: int) -> tuple[np.ndarray, ...]:
        return tuple(
            np.concatenate([[0], random.integers(0, VOCABULARY, random.integers(1, CONTEXT))]).astype(np.int32)
            for _ in range(n)
        )

    names = [tuple(f"{kind}{index}" for index in range(n)) for kind, n in (("t", n_training), ("p", n_probes))]
    return Tokens(names[0], texts(n_training), names[1], texts(n_probes), positions, CONTEXT)


def capture(folder: Path, model, tokens, layers=LAYERS, dtype="float32", **options) -> dict[int, dict[str, np.ndarray]]:
    """Write the files, and read them again."""
    spec = ActivationSpec(tokens.n_rows, tokens.n_probes, D_MODEL, dtype)
    with contextlib.ExitStack() as open_files:
        writers = {
            layer: open_files.enter_context(ActivationWriter(folder / f"{layer}.h5", spec, {"layer": layer}))
            for layer in layers
        }
        with BackgroundWriter(writers) as background:
            capture_checkpoint(model, tokens, layers, background.append, dtype, **options)
        for writer in writers.values():
            writer.commit()
    rows = {}
    for layer in layers:
        verify_file(folder / f"{layer}.h5")
        rows[layer] = {
            name: open_rows(folder / f"{layer}.h5", name).float32()
            for name in ("resid_post", "read_out", "read_out_mean")
        }
    return rows


def one_by_one(model, ids: np.ndarray) -> dict[int, np.ndarray]:
    """Compute the residual stream [tokens, d_model] with transformers alone; its last layer is after the final norm."""
    with torch.no_grad():
        states = model(input_ids=torch.from_numpy(ids.astype(np.int64))[None], output_hidden_states=True).hidden_states
    return {layer - 1: state[0].numpy() for layer, state in enumerate(states)}


@pytest.mark.parametrize("positions", ["all", "read_out"])
def test_rows_are_the_hidden_states_in_the_order_of_the_tokens(tmp_path, model, positions):
    tokens = some_tokens(positions)
    rows = capture(tmp_path, model, tokens, batch_size=4)
    norm = model.gpt_neox.final_layer_norm
    alone = [one_by_one(model, ids) for ids in tokens.training_ids]
    training = tokens.training_rows
    for layer in LAYERS:
        ours = torch.from_numpy(rows[layer]["resid_post"])
        # transformers gives the last layer after the norm: apply the norm to ours.
        ours = norm(ours).detach().numpy() if layer == 2 else ours.numpy()
        expected = np.stack(
            [alone[text][layer][at] for text, at in zip(training.text_index_t, training.position_t, strict=True)]
        )
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=2e-5)
    assert not np.allclose(norm(torch.from_numpy(rows[2]["resid_post"])).detach(), rows[2]["resid_post"], atol=0.1)


def test_read_outs_are_the_last_token_and_the_mean_without_the_first(tmp_path, model):
    tokens = some_tokens()
    rows = capture(tmp_path, model, tokens, batch_size=3)
    for index, ids in enumerate(tokens.probe_ids):
        alone = one_by_one(model, ids)
        for layer in (-1, 0, 1):
            np.testing.assert_allclose(rows[layer]["read_out"][index], alone[layer][-1], rtol=1e-5, atol=2e-5)
            np.testing.assert_allclose(
                rows[layer]["read_out_mean"][index], alone[layer][1:].mean(0), rtol=1e-5, atol=2e-5
            )


def test_embedding_rows_are_the_embedding(tmp_path, model):
    tokens = some_tokens()
    rows = capture(tmp_path, model, tokens)
    embedding = model.gpt_neox.embed_in.weight.detach().numpy()
    np.testing.assert_array_equal(rows[-1]["resid_post"], embedding[tokens.training_rows.token_id_t])


@pytest.mark.parametrize("options", [{"batch_size": 1}, {"batch_size": 5}, {"batch_size": 3, "staged_bytes": 1}])
def test_batches_change_rounding_only(tmp_path, model, options):
    tokens = some_tokens()
    whole = capture(tmp_path / "whole", model, tokens, batch_size=100)
    parts = capture(tmp_path / "parts", model, tokens, **options)
    for layer in LAYERS:
        for name, expected in whole[layer].items():
            np.testing.assert_allclose(parts[layer][name], expected, rtol=1e-5, atol=2e-5)


def test_equal_runs_give_equal_bytes(tmp_path, model):
    for name in ("a", "b"):
        capture(tmp_path / name, model, some_tokens(), batch_size=4)
    assert (tmp_path / "a/2.h5").read_bytes() == (tmp_path / "b/2.h5").read_bytes()


def test_the_texts_of_a_forward_pass_are_the_same_for_any_selection_of_layers(tmp_path, model):
    """So that the rows of one layer, captured again, round as they did beside the others."""
    tokens, shapes = some_tokens(n_training=60), {}
    for layers in ((0, 1, 2), (1,)):
        seen = shapes.setdefault(layers, [])
        with model.base_model.register_forward_pre_hook(
            lambda _module, _args, inputs, seen=seen: seen.append(inputs["input_ids"].numpy().copy()), with_kwargs=True
        ):
            capture(tmp_path, model, tokens, layers, staged_bytes=3 * D_MODEL * 4 * 100)
    several, one = shapes.values()
    assert len(several) == len(one) > 3
    assert all(np.array_equal(first, second) for first, second in zip(several, one, strict=True))


def test_any_selection_of_layers_costs_one_forward_pass_per_batch_up_to_the_last(tmp_path, model):
    calls = []
    handles = [
        block.register_forward_hook(lambda *_, layer=layer: calls.append(layer))
        for layer, block in enumerate(model.gpt_neox.layers)
    ]
    model.lm_head.register_forward_hook(lambda *_: pytest.fail("the head was run"))
    capture(tmp_path / "all", model, some_tokens(n_training=9, n_probes=7), batch_size=4)
    assert calls == [*range(len(handles))] * (3 + 2)
    calls.clear()
    alone = capture(tmp_path / "one", model, some_tokens(n_training=9, n_probes=7), layers=(1,), batch_size=4)
    assert calls == [0, 1] * (3 + 2)
    assert list(alone) == [1]
    assert (tmp_path / "one/1.h5").read_bytes() == (tmp_path / "all/1.h5").read_bytes()


@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 1e-3), ("bfloat16", 8e-3)])
def test_narrow_files_hold_rounded_rows(tmp_path, model, dtype, tolerance):
    wide = capture(tmp_path / "wide", model, some_tokens())
    narrow = capture(tmp_path / "narrow", model, some_tokens(), dtype=dtype)
    expected = torch.from_numpy(wide[1]["resid_post"]).to(getattr(torch, dtype)).float().numpy()
    np.testing.assert_array_equal(narrow[1]["resid_post"], expected)
    np.testing.assert_allclose(narrow[1]["read_out_mean"], wide[1]["read_out_mean"], rtol=tolerance, atol=tolerance)


def test_a_bfloat16_model_can_be_captured(tmp_path, model):
    rows = capture(tmp_path, model.to(torch.bfloat16), some_tokens(), dtype="bfloat16")
    assert np.isfinite(rows[2]["resid_post"]).all()


def test_progress_counts_texts_to_the_end(tmp_path, model):
    seen = []
    capture(
        tmp_path,
        model,
        some_tokens(),
        staged_bytes=1,
        report=lambda done, total, note: seen.append((done, total, note)),
    )
    assert [done for done, _, _ in seen] == list(range(1, 17))
    assert {total for _, total, _ in seen} == {16}
    assert {note for _, _, note in seen} == {"training texts", "probe texts"}


# --- hooks ------------------------------------------------------------------------------------------------------------


def n_hooks(model) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


def test_hooks_are_removed_also_after_an_error(model):
    def fail() -> None:
        with residual_stream(model, LAYERS):
            assert n_hooks(model) == 4
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="memory"):
        fail()
    assert n_hooks(model) == 0


def test_residual_stream_equals_the_outputs_of_the_blocks(model):
    with torch.no_grad(), residual_stream(model, (-1, 2)) as resid:
        output = model.gpt_neox(input_ids=torch.arange(5)[None])
        assert set(resid) == {-1, 2}
        torch.testing.assert_close(model.gpt_neox.final_layer_norm(resid[2]), output.last_hidden_state)


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_non_finite_weights_are_refused_with_model_and_layer(tmp_path, model, bad):
    model.config.name_or_path = "planted@step512"
    with torch.no_grad():
        model.gpt_neox.layers[1].mlp.dense_4h_to_h.bias[3] = bad
    with pytest.raises(EmergenceError, match="after layer 1 of planted@step512 holds NaN or infinity"):
        capture(tmp_path, model, some_tokens())
    assert list(tmp_path.iterdir()) == []
    assert n_hooks(model) == 0


def test_overflow_of_the_file_is_distinguished_from_a_damaged_model(tmp_path, model):
    with torch.no_grad():
        model.gpt_neox.layers[1].mlp.dense_4h_to_h.bias[3] = 1e5
    with pytest.raises(EmergenceError, match=r"after layer 1 of .* overflows float16") as caught:
        capture(tmp_path, model, some_tokens(), dtype="float16")
    assert "bfloat16" in caught.value.remedy
    capture(tmp_path, model, some_tokens(), dtype="bfloat16")


def test_a_batch_that_memory_does_not_hold_is_halved_for_good(tmp_path, model):
    """Simulate a device that holds three texts: the error is torch's own, raised where a device raises it."""
    sizes = []

    def hold_three(_module, _args, kwargs) -> None:
        sizes.append(len(kwargs["input_ids"]))
        if sizes[-1] > 3:
            raise torch.OutOfMemoryError("out of memory")

    handle = model.gpt_neox.register_forward_pre_hook(hold_three, with_kwargs=True)
    rows = capture(tmp_path / "small", model, some_tokens(), batch_size=8)
    assert sizes[:3] == [8, 4, 2]
    assert max(sizes[2:]) == 2
    handle.remove()
    expected = capture(tmp_path / "large", model, some_tokens(), batch_size=8)
    for layer in LAYERS:
        np.testing.assert_allclose(rows[layer]["resid_post"], expected[layer]["resid_post"], atol=2e-5)


def test_a_text_that_memory_does_not_hold_is_named(tmp_path, model):
    def hold_nothing(_module, _args, _kwargs) -> None:
        raise torch.OutOfMemoryError("out of memory")

    model.gpt_neox.register_forward_pre_hook(hold_nothing, with_kwargs=True)
    with pytest.raises(EmergenceError, match="does not hold the forward pass of one text"):
        capture(tmp_path, model, some_tokens())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("layer", [3, -2])
def test_a_layer_that_the_model_does_not_have_is_refused(tmp_path, model, layer):
    with pytest.raises(EmergenceError, match=f"no layer {layer}: its layers are 0 to 2"):
        capture(tmp_path, model, some_tokens(), layers=(0, layer))


def test_a_foreign_vocabulary_is_refused(tmp_path, model):
    tokens = some_tokens()
    tokens.probe_ids[0][1] = VOCABULARY
    with pytest.raises(EmergenceError, match=f"Token id {VOCABULARY} is outside"):
        capture(tmp_path, model, tokens)


def test_texts_beyond_the_models_context_are_refused(tmp_path, model):
    model.config.max_position_embeddings = 4
    with pytest.raises(EmergenceError, match="the model's context is 4"):
        capture(tmp_path, model, some_tokens())


def test_a_model_in_training_mode_is_refused(tmp_path, model):
    tokens = some_tokens()
    with pytest.raises(ValueError, match="training mode"):
        capture(tmp_path, model.train(), tokens)
