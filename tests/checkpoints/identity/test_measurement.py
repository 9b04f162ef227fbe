"""The measurement of a checkpoint equals a direct computation with numpy; its file is stored and read."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import BertConfig, BertModel

from emergence_assets.checkpoints.files import safetensors_file
from emergence_assets.checkpoints.files.safetensors_file import read_blocks, read_header
from emergence_assets.checkpoints.identity.measurement import (
    InvalidCheckpoint,
    Measurement,
    measure_checkpoint,
    read_measurement,
    sample_positions,
    tensor_groups,
    write_measurement,
)
from emergence_assets.checkpoints.models.facts import embedding_norm, model_facts
from emergence_assets.checkpoints.models.loading import load_model
from resources.errors import BrokenCheckpoint, EmergenceError
from tests.family import read_weights, shard, step_folder, with_nan, write_weights
from tests.measured import weights_measured

MODEL, STEP = "gloss-tiny", 8
GROUPS = ("embedding", "block 0", "block 1", "unembedding", "other")


@pytest.fixture
def checkpoint(family_copy: Path) -> Path:
    return step_folder(family_copy, MODEL, STEP)


def by_group(checkpoint: Path) -> dict[str, dict[str, np.ndarray]]:
    weights = read_weights(checkpoint)
    groups = tensor_groups(read_header(checkpoint / "model.safetensors"))
    return {group: {name: weights[name] for name in sorted(weights) if groups[name] == group} for group in GROUPS}


def content(found: Measurement | InvalidCheckpoint) -> dict:
    """Return the content of a measurement in a form that compares by value."""
    plain = asdict(found)
    return plain | {"sample": plain["sample"].tolist()} if "sample" in plain else plain


def test_every_byte_is_hashed_and_read_once(checkpoint: Path) -> None:
    file = checkpoint / "model.safetensors"
    weights = read_weights(checkpoint)
    for name in ("gpt_neox.embed_in.weight", "embed_out.weight"):
        weights[name] = np.tile(weights[name], (40, 1))
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(config | {"vocab_size": 40 * config["vocab_size"]}))
    write_weights(checkpoint, weights)

    def n_read() -> int:
        return int(Path("/proc/self/io").read_text().split("rchar: ")[1].split()[0])

    model = load_model(checkpoint)
    facts = model_facts(model)
    before = n_read()
    found = measure_checkpoint(checkpoint, facts, embedding_norm(model))
    assert n_read() - before < 1.5 * file.stat().st_size
    assert found.facts.weights_sha256 == hashlib.sha256(file.read_bytes()).hexdigest()


def test_norms_and_sizes_are_those_of_all_weights(checkpoint: Path) -> None:
    found = weights_measured(checkpoint)
    assert found.groups == GROUPS
    for group, norm, size in zip(found.groups, found.group_norms, found.group_sizes, strict=True):
        flat = np.concatenate([weight.ravel() for weight in by_group(checkpoint)[group].values()]).astype(np.float64)
        assert size == flat.size
        assert norm == pytest.approx(np.linalg.norm(flat), rel=1e-6)
    rows = np.linalg.norm(read_weights(checkpoint)["gpt_neox.embed_in.weight"].astype(np.float64), axis=1)
    assert found.embed_norm_median == pytest.approx(np.median(rows), rel=1e-6)


def test_the_sample_is_of_matrices_at_positions_that_names_and_shapes_decide(checkpoint: Path) -> None:
    found = weights_measured(checkpoint)
    start = 0
    for group, size in zip(found.groups, found.sample_sizes, strict=True):
        matrices = {name: weight for name, weight in by_group(checkpoint)[group].items() if weight.ndim > 1}
        assert (size > 0) == bool(matrices)
        for name, weight in matrices.items():
            n = int(np.ceil(4096 * weight.size / sum(matrix.size for matrix in matrices.values())))
            drawn = weight.ravel()[sample_positions(name, weight.shape, n)]
            assert np.array_equal(found.sample[start : start + len(drawn)], drawn.astype(np.float32))
            start += len(drawn)
    assert start == len(found.sample)


@given(st.text(max_size=20), st.lists(st.integers(1, 60), min_size=2, max_size=3), st.integers(1, 5000))
def test_sampled_positions_ascend_inside_the_tensor_and_never_change(name: str, shape: list[int], n: int) -> None:
    positions = sample_positions(name, tuple(shape), n)
    assert np.array_equal(positions, sample_positions(name, tuple(shape), n))
    assert (np.diff(positions) > 0).all()
    assert 0 <= positions[0] <= positions[-1] < np.prod(shape)
    assert min(n, np.prod(shape)) / 2 <= len(positions) <= n or len(positions) == np.prod(shape)


def test_positions_spread_over_the_tensor_and_differ_between_tensors() -> None:
    one, other = (sample_positions(name, (1000, 1000), 4000) for name in ("one", "other"))
    assert np.abs(np.histogram(one, 10, (0, 1e6))[0] - 400).max() < 100
    assert len(np.intersect1d(one, other)) < 100


def test_weights_in_several_files_measure_as_in_one(family_copy: Path, checkpoint: Path) -> None:
    whole = content(weights_measured(checkpoint))
    shard(family_copy, MODEL, STEP, n=3)
    parts = content(weights_measured(checkpoint))
    assert parts.pop("facts") != whole.pop("facts")
    assert parts == whole


@pytest.mark.parametrize("block_bytes", [8, 24, 4096])
def test_blocks_that_end_inside_a_row_measure_the_same(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, block_bytes: int
) -> None:
    whole = content(weights_measured(checkpoint))
    monkeypatch.setattr(safetensors_file, "BLOCK_BYTES", block_bytes)
    cut = content(weights_measured(checkpoint))
    assert cut.pop("group_norms") == pytest.approx(whole.pop("group_norms"), rel=1e-12)
    assert cut == whole


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_other_precisions_measure_the_values_that_they_store(checkpoint: Path, dtype: torch.dtype) -> None:
    before = weights_measured(checkpoint)
    weights = {name: torch.from_numpy(weight).to(dtype) for name, weight in read_weights(checkpoint).items()}
    safetensors.torch.save_file(weights, checkpoint / "model.safetensors", {"format": "pt"})
    stored = weights_measured(checkpoint)
    rounded = torch.from_numpy(before.sample).to(dtype).float().numpy()
    assert np.array_equal(stored.sample, rounded)
    assert stored.group_norms == pytest.approx(before.group_norms, rel=2e-3)
    assert not set(stored.group_hashes) & set(before.group_hashes)


def test_one_changed_weight_changes_the_hash_of_its_group_alone(checkpoint: Path) -> None:
    before = weights_measured(checkpoint)
    weights = read_weights(checkpoint)
    weights["gpt_neox.layers.1.mlp.dense_h_to_4h.bias"][3] += 1
    write_weights(checkpoint, weights)
    after = weights_measured(checkpoint)
    changed = [
        group for group, one, other in zip(GROUPS, before.group_hashes, after.group_hashes, strict=True) if one != other
    ]
    assert changed == ["block 1"]
    assert after.matrix_hashes == before.matrix_hashes  # it was a vector


def test_weights_that_are_not_finite_are_refused_by_name(family_copy: Path) -> None:
    checkpoint = with_nan(family_copy, MODEL, STEP)
    with pytest.raises(BrokenCheckpoint, match=r"layers\.\d\.mlp\.dense_h_to_4h\.weight has NaN"):
        weights_measured(checkpoint)


def test_a_file_that_becomes_shorter_while_it_is_read_is_refused(checkpoint: Path) -> None:
    file = checkpoint / "model.safetensors"
    tensors = read_header(file)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(BrokenCheckpoint, match="shorter"):
        list(read_blocks(file, tensors))


def test_an_encoder_is_measured(checkpoint: Path) -> None:
    config = BertConfig(
        vocab_size=2048,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=2048,
    )
    with torch.random.fork_rng():
        BertModel(config).save_pretrained(checkpoint)
    found = weights_measured(checkpoint)
    rows = np.linalg.norm(read_weights(checkpoint)["embeddings.word_embeddings.weight"], axis=1)
    assert found.facts.architecture == "BertModel"
    assert set(GROUPS) - set(found.groups) <= {"unembedding"}
    assert found.embed_norm_median == pytest.approx(np.median(rows), rel=1e-6)  # positions are no tokens


@pytest.mark.parametrize("sample", [True, False])
def test_a_measurement_survives_its_file(checkpoint: Path, tmp_path: Path, sample: bool) -> None:
    found = weights_measured(checkpoint)
    write_measurement(tmp_path / "found.safetensors", found)
    back = read_measurement(tmp_path / "found.safetensors", sample=sample)
    assert content(back) == content(found) | ({} if sample else {"sample": []})


def test_a_refusal_survives_its_file(tmp_path: Path) -> None:
    refusal = InvalidCheckpoint("tensor x has NaN (é.safetensors)", "files_are_whole", "torch 2")
    write_measurement(tmp_path / "refused.safetensors", refusal)
    assert read_measurement(tmp_path / "refused.safetensors", sample=True) == refusal


@pytest.fixture(scope="module")
def stored(family: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stored") / "found.safetensors"
    write_measurement(path, weights_measured(step_folder(family, "gloss-tinier", STEP)))
    return path


def read_or_refused(path: Path) -> dict | None:
    """Return the content of a measurement, or None if it is refused; any other error fails the test."""
    try:
        return content(read_measurement(path, sample=True))
    except EmergenceError:
        return None


@given(data=st.data())
def test_a_flipped_bit_is_refused_or_changes_nothing(stored: Path, data: st.DataObject) -> None:
    original = stored.read_bytes()
    header = int.from_bytes(original[:8], "little") + 8
    place = data.draw(st.one_of(st.integers(0, header - 1), st.integers(0, len(original) - 1)))
    flipped = bytearray(original)
    flipped[place] ^= 1 << data.draw(st.integers(0, 7))
    path = stored.with_name("flipped.safetensors")
    path.write_bytes(flipped)
    assert read_or_refused(path) in (None, read_or_refused(stored))


def test_a_flipped_digit_of_a_norm_is_refused(stored: Path, tmp_path: Path) -> None:
    original = stored.read_bytes()
    place = original.index(b"group_norms") + 16
    assert chr(original[place]).isdigit()
    path = tmp_path / "flipped.safetensors"
    path.write_bytes(original[:place] + bytes([original[place] ^ 1]) + original[place + 1 :])
    with pytest.raises(EmergenceError, match="altered") as refused:
        read_measurement(path, sample=False)
    assert "measured again" in refused.value.remedy


@given(st.one_of(st.binary(max_size=200), st.integers(0, 30_000)))
def test_whatever_stands_in_the_file_it_is_refused(stored: Path, instead: bytes | int) -> None:
    path = stored.with_name("odd.safetensors")
    path.write_bytes(instead if isinstance(instead, bytes) else stored.read_bytes()[:instead])
    assert read_or_refused(path) is None


def test_another_safetensors_file_is_no_measurement(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(safetensors.numpy.save({"sample": np.zeros(3, np.float32)}))
    with pytest.raises(EmergenceError, match="not an emergence-measurement"):
        read_measurement(path, sample=True)
