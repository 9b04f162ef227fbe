"""Measurement of a checkpoint: hashes, norms and a sample of its weights, from one pass over every byte.

The positions of the sample depend on names and shapes alone, so that samples of different steps of a model can be
compared weight by weight. A cosine c that is estimated from n sampled weights has a standard error of about
(1 - c^2) / sqrt(n) if the weights are of similar size. Matrices are sampled in proportion to their size; vectors
(norms, biases) are not sampled, because they would dominate.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np
import safetensors
import safetensors.numpy
import xxhash
from pydantic import ConfigDict, TypeAdapter

from emergence_assets.checkpoints.facts import CheckpointFacts, ModelFacts, checkpoint_facts
from emergence_assets.checkpoints.files.folder import (
    Contents,
    is_buffer,
    is_embedding,
    layer_of_tensors,
    read_contents,
    read_weights,
    reading,
    weights_sha256,
)
from emergence_assets.checkpoints.files.safetensors_file import DTYPES, Tensor
from resources.errors import EmergenceError
from resources.files.atomic import replacing_file
from resources.files.checked_json import STRICT, parse_checked

FORMAT = "emergence-measurement"
FORMAT_VERSION = 1
SAMPLE_PER_GROUP = 4096
"""Sampled weights per tensor group: the standard error of a cosine is 0.016 near 0 and 0.0003 near 0.99."""
EMBEDDING, UNEMBEDDING, OTHER = "embedding", "unembedding", "other"
Rule = Literal["files_are_whole", "model_is_supported"]
"""Identity rules that a checkpoint fails by itself, without its neighbours."""


@dataclass(frozen=True, eq=False)
class Measurement:
    """Hashes, norms and a sample of the weights of one checkpoint."""

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True, arbitrary_types_allowed=True)
    facts: CheckpointFacts
    groups: tuple[str, ...]
    """Tensor groups of the model: `embedding`, `block 0`, `block 1` …, `unembedding`, `other`."""
    group_hashes: tuple[str, ...]
    """xxh3-128 over names and bytes of all tensors of the group."""
    matrix_hashes: tuple[str, ...]
    """xxh3-128 over names and bytes of the tensors with two dimensions or more. Vectors of norms and biases may stay
    bit-identical over the first steps of training in half precision."""
    group_norms: tuple[float, ...]
    """L2 norm of all weights of the group."""
    group_sizes: tuple[int, ...]
    """Number of weights of the group."""
    sample_sizes: tuple[int, ...]
    """Number of sampled weights of the group; 0 if it has no matrix."""
    embed_norm_median: float
    """Median L2 norm of the rows of the token embedding."""
    loss: float | None = None
    """Mean next-token loss on the fixed text, nats per token; None for encoders."""
    sample: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    """Sampled weights of all groups in order, float32; empty if the sample was not read."""


@dataclass(frozen=True)
class InvalidCheckpoint:
    """Reason why a checkpoint cannot be used; stored so that it is not fetched again under equal conditions."""

    __pydantic_config__ = STRICT
    reason: str
    rule: Rule
    """Identity rule that the checkpoint fails."""
    conditions: str
    """See `conditions_of_loading`."""


def conditions_of_loading(trusted: bool, blocks: str | None) -> str:
    """Name what decides, beside its files, whether a checkpoint can be used: libraries, and what the study file sets.

    Under other conditions a checkpoint that was left out is measured again.

    Args:
        trusted: whether code of the checkpoint may be run.
        blocks: name of its list of blocks, if the study file sets it.
    """
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers"))
    return versions + (", trusted code" if trusted else "") + (f", blocks {blocks}" if blocks else "")


_RECORD = TypeAdapter(dict[Literal["measurement", "refusal"], Measurement | InvalidCheckpoint])


def measure_checkpoint(folder: Path, model: ModelFacts, embed_norm_median: float) -> Measurement:
    """Read every weight of a checkpoint folder once.

    Args:
        folder: the checkpoint folder.
        model: facts of its model.
        embed_norm_median: median L2 norm of the rows of the model's token embedding.

    Raises:
        BrokenCheckpoint: a file is missing or damaged, or weights are not finite.
    """
    with reading(folder):
        return _measure(read_contents(folder), model, embed_norm_median)


def tensor_groups(names: Mapping[str, Tensor]) -> dict[str, str]:
    """Map every parameter to its tensor group."""
    parameters = [name for name in names if not is_buffer(name)]
    layers = layer_of_tensors(parameters)
    groups = {}
    for name in parameters:
        if name in layers:
            groups[name] = f"block {layers[name][0]}"
        elif len(names[name].shape) < 2:
            groups[name] = OTHER
        else:
            groups[name] = EMBEDDING if is_embedding(name) else UNEMBEDDING
    return groups


def sample_positions(name: str, shape: tuple[int, ...], n: int) -> np.ndarray:
    """Draw ascending positions of n weights in a flattened tensor; equal for equal names and shapes."""
    size = math.prod(shape)
    if n >= size:
        return np.arange(size)
    seed = int.from_bytes(hashlib.sha256(f"{name} {shape}".encode()).digest()[:8], "big")
    # Draw more than n positions, drop the rare duplicates, then keep n.
    drawn = np.unique(np.random.default_rng(seed).integers(0, size, n + n // 2 + 8))
    return drawn[np.linspace(0, len(drawn) - 1, min(n, len(drawn))).astype(np.int64)]


class _Group:
    """Sums over the tensors of a group."""

    def __init__(self) -> None:
        self.hashes: dict[str, str] = {}
        self.matrices: set[str] = set()
        self.square_sum = 0.0
        self.n_weights = 0
        self.sampled: dict[str, list[np.ndarray]] = {}

    def combined(self, only_matrices: bool) -> str:
        lines = [f"{name} {digest}" for name, digest in sorted(self.hashes.items())]
        kept = [line for line in lines if not only_matrices or line.rsplit(" ", 1)[0] in self.matrices]
        return xxhash.xxh3_128("\n".join(kept).encode()).hexdigest()

    def sample(self) -> np.ndarray:
        parts = [part for _, blocks in sorted(self.sampled.items()) for part in blocks]
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def _measure(contents: Contents, model: ModelFacts, embed_norm_median: float) -> Measurement:
    group_of = tensor_groups(contents.tensors)
    positions = _positions(contents.tensors, group_of)
    groups = {name: _Group() for name in sorted(set(group_of.values()), key=_group_order)}
    hashes: dict[str, str] = {}
    hasher = xxhash.xxh3_128()
    for name, tensor, offset, content in read_weights(contents, hashes):
        if name not in group_of:
            continue
        group = groups[group_of[name]]
        if offset == 0:
            hasher = xxhash.xxh3_128(f"{tensor.dtype} {tensor.shape}".encode())
        hasher.update(content)
        values, first = _values(tensor, content), offset // DTYPES[tensor.dtype][0]
        group.square_sum += float(np.square(values).sum(dtype=np.float64))
        group.n_weights += len(values)
        if len(tensor.shape) > 1:
            group.matrices.add(name)
            chosen = positions[name]
            inside = chosen[np.searchsorted(chosen, first) : np.searchsorted(chosen, first + len(values))]
            group.sampled.setdefault(name, []).append(values[inside - first])
        if offset + len(content) == tensor.n_bytes:
            group.hashes[name] = hasher.hexdigest()
    samples = [group.sample() for group in groups.values()]
    return Measurement(
        facts=checkpoint_facts(replace(contents.facts, weights_sha256=weights_sha256(hashes)), model),
        groups=tuple(groups),
        group_hashes=tuple(group.combined(only_matrices=False) for group in groups.values()),
        matrix_hashes=tuple(group.combined(only_matrices=True) for group in groups.values()),
        group_norms=tuple(math.sqrt(group.square_sum) for group in groups.values()),
        group_sizes=tuple(group.n_weights for group in groups.values()),
        sample_sizes=tuple(len(sample) for sample in samples),
        embed_norm_median=embed_norm_median,
        sample=np.concatenate(samples) if samples else np.zeros(0, np.float32),
    )


def _group_order(name: str) -> tuple[int, int]:
    """Return the sort key of a group: embedding, blocks by number, unembedding, other."""
    if name.startswith("block "):
        return 1, int(name.removeprefix("block "))
    return (EMBEDDING, "", UNEMBEDDING, OTHER).index(name), 0


def _positions(tensors: Mapping[str, Tensor], group_of: Mapping[str, str]) -> dict[str, np.ndarray]:
    matrices = {name: tensors[name] for name in group_of if len(tensors[name].shape) > 1}
    sizes: dict[str, int] = {}
    for name, tensor in matrices.items():
        sizes[group_of[name]] = sizes.get(group_of[name], 0) + math.prod(tensor.shape)
    return {
        name: sample_positions(
            name, tensor.shape, math.ceil(SAMPLE_PER_GROUP * math.prod(tensor.shape) / max(1, sizes[group_of[name]]))
        )
        for name, tensor in matrices.items()
    }


def _values(tensor: Tensor, content: bytes) -> np.ndarray:
    """Convert a block to float32; numpy has no bfloat16, whose bits are the upper half of a float32."""
    if tensor.dtype == "BF16":
        return (np.frombuffer(content, "<u2").astype(np.uint32) << 16).view(np.float32)
    kinds = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}
    if tensor.dtype in kinds:
        return np.frombuffer(content, kinds[tensor.dtype]).astype(np.float32, copy=False)
    # Eight-bit floats and integers: quantised weights are compared by their codes.
    return np.frombuffer(content, f"<u{DTYPES[tensor.dtype][0]}").astype(np.float32)


def write_measurement(path: Path, measured: Measurement | InvalidCheckpoint) -> None:
    """Write a measurement atomically to a safetensors file: the numbers as metadata, the sample as tensor."""
    plain = asdict(measured)
    sample = np.ascontiguousarray(plain.pop("sample", ()), np.float32)
    record = json.dumps({"refusal" if isinstance(measured, InvalidCheckpoint) else "measurement": plain})
    notes = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "record": record,
        "record_xxh3": xxhash.xxh3_128_hexdigest(record.encode()),
        "sample_xxh3": xxhash.xxh3_128_hexdigest(sample.tobytes()),
    }
    with replacing_file(path) as temporary:
        temporary.write_bytes(safetensors.numpy.save({"sample": sample}, notes))


def read_measurement(path: Path, *, sample: bool) -> Measurement | InvalidCheckpoint:
    """Read a file of `write_measurement`.

    Args:
        path: path of the file.
        sample: also read the sample of weights; otherwise only the header is read.

    Raises:
        EmergenceError: the file is damaged, or is not a measurement.
    """
    remedy = "delete it; the checkpoint is measured again"
    try:
        with safetensors.safe_open(path, framework="np") as file:
            notes = file.metadata() or {}
            if notes.get("format") != FORMAT or notes.get("format_version") != str(FORMAT_VERSION):
                raise ValueError(f"it is not an {FORMAT} of version {FORMAT_VERSION}")
            if xxhash.xxh3_128_hexdigest(notes["record"].encode()) != notes["record_xxh3"]:
                raise ValueError("its numbers were altered")
            (found,) = parse_checked(notes["record"], _RECORD).values()
            values = file.get_tensor("sample") if sample else np.zeros(0, np.float32)
        if sample and xxhash.xxh3_128_hexdigest(values.tobytes()) != notes["sample_xxh3"]:
            raise ValueError("its sample was altered")
        if isinstance(found, InvalidCheckpoint):
            return found
        if sample and sum(found.sample_sizes) != len(values):
            raise ValueError("sample: its size is not the sum of sample_sizes")
    except (OSError, safetensors.SafetensorError, ValueError, KeyError) as error:
        raise EmergenceError(f"The measurement cannot be read: {error}", where=path, remedy=remedy) from error
    return replace(found, sample=values)
