"""A checkpoint as a folder on disk: how it is named, and what it holds according to its own files.

Belongs here: reading and checking a checkpoint folder without loading the model, so that a broken download is found
before hours are spent on it. No torch: headers are parsed and weights are looked at in blocks. Does not belong here:
where folders come from (`cells.py`), the model itself (`loading.py`).

A checkpoint folder holds `config.json`, `tokenizer.json` and either `model.safetensors` or several such files named by
`model.safetensors.index.json`, as Hugging Face writes them.
"""

import hashlib
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np

from emergence_assets.errors import EmergenceError

_FETCH_AGAIN = "delete this checkpoint's folder and fetch or train it again"

_MAX_JSON_BYTES = 256 * 2**20  # no real config, index or tokenizer comes near
_BLOCK_BYTES = 64 * 2**20

_CONFIG_NAMES = {
    "n_layers": ("num_hidden_layers", "n_layer", "n_layers"),
    "d_model": ("hidden_size", "n_embd", "d_model"),
    "n_heads": ("num_attention_heads", "n_head", "n_heads"),
    "vocab_size": ("vocab_size",),
}
"""What model families call the four numbers in their config; the first is the common name."""

# Width of an element in bytes, and the exponent bits: all of them set means NaN or infinite.
_DTYPES: dict[str, tuple[int, int | None]] = {
    "F64": (8, 0x7FF0_0000_0000_0000),
    "F32": (4, 0x7F80_0000),
    "F16": (2, 0x7C00),
    "BF16": (2, 0x7F80),
    "F8_E5M2": (1, 0x7C),
    "F8_E4M3": (1, 0x7F),  # has no infinity; all bits set is NaN
    **{name: (width, None) for width, name in ((8, "I64"), (4, "I32"), (2, "I16"), (1, "I8"))},
    **{name: (width, None) for width, name in ((8, "U64"), (4, "U32"), (2, "U16"), (1, "U8"), (1, "BOOL"))},
}

# Causal masks and rotary frequencies that older versions of transformers saved among the weights; not parameters.
_BUFFERS = re.compile(r"(attention|attn)\.(bias|masked_bias)$|rotary_emb\.inv_freq$")

_EMBEDDING = re.compile(r"embed(?!_out)|wte")  # the unembedding has the same shape and must not stand in for it


@dataclass(frozen=True)
class CheckpointFacts:
    """What a checkpoint folder says about itself, after its files were found to agree."""

    model_type: str
    """Family in the words of transformers, as in gpt_neox."""
    architecture: str
    """Class in the words of transformers, as in GPTNeoXForCausalLM."""
    n_layers: int
    """Number of blocks."""
    d_model: int
    """Width of the residual stream."""
    n_heads: int
    """Attention heads per block."""
    vocab_size: int
    """Rows of the token embedding."""
    n_params: int
    """All parameters; buffers are not counted."""
    n_params_nonemb: int
    """Parameters without token embedding and unembedding."""
    weights_sha256: str
    """Hash of the weights file; of the sorted lines "name hash" when there are several."""
    config_sha256: str
    """Hash of config.json."""
    tokenizer_sha256: str
    """Hash of tokenizer.json."""
    weights_bytes: int
    """Size of all weights files."""


class _Tensor(NamedTuple):
    dtype: str
    shape: tuple[int, ...]
    file: Path
    start: int
    """Of the data, in bytes from the beginning of the file."""


_Blocks = dict[int, dict[str, tuple[int, ...]]]
"""Layer to the shapes of the block's tensors by their name inside the block."""


def step_folder_name(step: int) -> str:
    """Name of a checkpoint's folder and of its revision on the hub, as in `step512`."""
    if step < 0:
        raise ValueError(f"step must not be negative, got {step}")
    return f"step{step}"


def read_facts(folder: Path, *, check_finite: bool = True) -> CheckpointFacts:
    """Facts of one checkpoint folder, read from its files and checked against each other.

    Args:
        folder: the checkpoint folder.
        check_finite: also look at every weight; reads the weights a second time.

    Raises:
        EmergenceError: a file is missing or damaged, or the weights do not fit the config or are not finite. It names
            the file.
    """
    try:
        return _read_facts(folder, check_finite)
    except OSError as error:
        what = f"cannot read this checkpoint: {error.strerror}"
        raise EmergenceError(what, where=error.filename or folder, remedy=_FETCH_AGAIN) from error


def _read_facts(folder: Path, check_finite: bool) -> CheckpointFacts:
    config, config_sha256 = _read_json(folder / "config.json")
    sizes = {name: _config_number(config, name, folder / "config.json") for name in _CONFIG_NAMES}
    model_type, architectures = config.get("model_type"), config.get("architectures")
    if not isinstance(model_type, str) or not model_type:
        _refuse("config has no model_type", folder / "config.json")
    if not isinstance(architectures, list) or not architectures or not isinstance(architectures[0], str):
        _refuse("config has no architectures", folder / "config.json")
    tokenizer, tokenizer_sha256 = _read_json(folder / "tokenizer.json")
    if not isinstance(tokenizer.get("model"), dict):
        _refuse("not a tokenizer: it has no model", folder / "tokenizer.json")

    files = _weights_files(folder)
    tensors: dict[str, _Tensor] = {}
    for file in files:
        for name, tensor in _read_header(file).items():
            if name in tensors:
                _refuse(f"tensor {name} is also in {tensors[name].file.name}", file)
            tensors[name] = tensor
    parameters = {name: tensor for name, tensor in tensors.items() if not _BUFFERS.search(name)}
    blocks, outside = _split_blocks(parameters)
    _check_shapes(blocks, outside, sizes, files[0])
    if check_finite:
        for name, tensor in tensors.items():
            _check_finite(name, tensor)

    n_params = sum(math.prod(tensor.shape) for tensor in parameters.values())
    embedding_shape = (sizes["vocab_size"], sizes["d_model"])
    n_embeddings = sum(tensor.shape == embedding_shape for tensor in outside.values())
    return CheckpointFacts(
        model_type=model_type,
        architecture=architectures[0],
        **sizes,
        n_params=n_params,
        n_params_nonemb=n_params - n_embeddings * math.prod(embedding_shape),
        weights_sha256=_weights_sha256(files),
        config_sha256=config_sha256,
        tokenizer_sha256=tokenizer_sha256,
        weights_bytes=sum(file.stat().st_size for file in files),
    )


def _refuse(what: str, where: Path) -> NoReturn:
    raise EmergenceError(f"broken checkpoint: {what}", where=where, remedy=_FETCH_AGAIN)


def _read_json(path: Path) -> tuple[dict[str, Any], str]:
    try:
        if path.stat().st_size > _MAX_JSON_BYTES:
            _refuse(f"{path.name} is larger than {_MAX_JSON_BYTES} bytes", path)
        content = path.read_bytes()
        value = json.loads(content)
    except FileNotFoundError:
        _refuse(f"{path.name} is missing", path)
    except (ValueError, RecursionError):
        _refuse(f"{path.name} is not JSON", path)
    if not isinstance(value, dict):
        _refuse(f"{path.name} is not a JSON object", path)
    return value, hashlib.sha256(content).hexdigest()


def _config_number(config: dict[str, Any], name: str, path: Path) -> int:
    """The number under whichever of its names the config uses."""
    for key in _CONFIG_NAMES[name]:
        if key in config:
            number = config[key]
            if type(number) is not int or number < 1:
                _refuse(f"config has {key} = {number!r}, not a positive whole number", path)
            return number
    _refuse(f"config has no {_CONFIG_NAMES[name][0]}", path)


def _weights_files(folder: Path) -> list[Path]:
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.exists():
        return [single]
    if not index.exists():
        if any(folder.glob("pytorch_model*.bin")):
            raise EmergenceError(
                "weights are there as pickle only, which can run code when loaded",
                where=folder,
                remedy="convert them to model.safetensors (save_pretrained does), or choose a revision that has it",
            )
        _refuse("model.safetensors is missing", single)
    weight_map = _read_json(index)[0].get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        _refuse("index has no weight_map", index)
    names = sorted({str(name) for name in weight_map.values()})
    for name in names:
        # An index from elsewhere must not make us read files outside the folder.
        if not re.fullmatch(r"[\w.-]+\.safetensors", name):
            _refuse(f"index names an odd file {name!r}", index)
        if not (folder / name).exists():
            _refuse(f"{name} is missing", folder / name)
    return [folder / name for name in names]


def _read_header(path: Path) -> dict[str, _Tensor]:
    """Tensors of a safetensors file; every byte of the file must belong to exactly one of them.

    Layout: 8 bytes little-endian header length, JSON header, data (https://github.com/huggingface/safetensors#format).
    """
    n_bytes = path.stat().st_size
    with path.open("rb") as file:
        header_length = int.from_bytes(file.read(8), "little")
        if n_bytes < 8 or header_length > min(n_bytes - 8, _MAX_JSON_BYTES):
            _refuse(f"not a safetensors file, or cut off: {n_bytes} bytes, header says {header_length}", path)
        try:
            header = json.loads(file.read(header_length))
        except (ValueError, RecursionError):
            _refuse("safetensors header is not JSON", path)
    if not isinstance(header, dict):
        _refuse("safetensors header is not a JSON object", path)
    header.pop("__metadata__", None)
    tensors, spans = {}, []
    for name, entry in header.items():
        match entry:
            case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [int(begin), int(end)]} if (
                dtype in _DTYPES and all(type(size) is int and size >= 0 for size in shape)
            ):
                pass
            case _:
                _refuse(f"safetensors header has an odd entry for tensor {name}: {entry}", path)
        if end - begin != math.prod(shape) * _DTYPES[dtype][0]:
            _refuse(f"tensor {name} has {end - begin} bytes, which is not {dtype} of shape {shape}", path)
        tensors[name] = _Tensor(dtype, tuple(shape), path, 8 + header_length + begin)
        spans.append((begin, end))
    expected = 0
    for begin, end in sorted(spans):
        if begin != expected:
            _refuse("tensors overlap or leave a gap", path)
        expected = end
    if 8 + header_length + expected != n_bytes:
        _refuse(f"file has {n_bytes} bytes, its header describes {8 + header_length + expected}", path)
    if not tensors:
        _refuse("file holds no tensors", path)
    return tensors


def _check_shapes(blocks: _Blocks, outside: dict[str, _Tensor], sizes: dict[str, int], file: Path) -> None:
    d_model, n_layers, vocab_size = sizes["d_model"], sizes["n_layers"], sizes["vocab_size"]
    embeddings = {name: tensor.shape for name, tensor in outside.items() if _EMBEDDING.search(name)}
    if (vocab_size, d_model) not in embeddings.values():
        found = ", ".join(f"{name} {shape}" for name, shape in embeddings.items()) or "none"
        _refuse(f"config says a token embedding of shape {(vocab_size, d_model)}, the weights have {found}", file)
    if sorted(blocks) != list(range(n_layers)):
        _refuse(f"config says {n_layers} layers, the weights have {len(blocks)} blocks: {sorted(blocks)}", file)
    if not any(d_model in shape for shape in blocks[0].values()):
        _refuse(f"no tensor of block 0 has a side of d_model = {d_model}", file)
    for layer, shapes in blocks.items():
        for name in shapes.keys() ^ blocks[0].keys():
            lacking, having = (layer, 0) if name in blocks[0] else (0, layer)
            _refuse(f"block {lacking} lacks {name}, which block {having} has", file)
        for name, shape in shapes.items():
            if shape != blocks[0][name]:
                _refuse(f"{name} has shape {shape} in block {layer} and {blocks[0][name]} in block 0", file)


def _split_blocks(parameters: dict[str, _Tensor]) -> tuple[_Blocks, dict[str, _Tensor]]:
    """Blocks, and the tensors outside. The block list is the numbered list with most tensors, whatever its name."""
    lists: dict[str, dict[str, tuple[int, str]]] = {}
    for name in parameters:
        if numbered := re.match(r"(.*?)\.(\d+)\.(.+)", name):
            prefix, layer, rest = numbered.groups()
            lists.setdefault(prefix, {})[name] = (int(layer), rest)
    in_blocks = max(lists.values(), key=len, default={})
    blocks: _Blocks = {}
    for name, (layer, rest) in in_blocks.items():
        blocks.setdefault(layer, {})[rest] = parameters[name].shape
    return blocks, {name: tensor for name, tensor in parameters.items() if name not in in_blocks}


def _check_finite(name: str, tensor: _Tensor) -> None:
    width, exponent = _DTYPES[tensor.dtype]
    if exponent is None:
        return
    left = math.prod(tensor.shape) * width
    with tensor.file.open("rb") as file:
        file.seek(tensor.start)
        while left:
            content = file.read(min(left, _BLOCK_BYTES))
            if len(content) < min(left, _BLOCK_BYTES):
                _refuse("file became shorter while it was read", tensor.file)
            block = np.frombuffer(content, dtype=f"<u{width}")
            mask = block.dtype.type(exponent)
            n_bad = int(np.count_nonzero((block & mask) == mask))
            if n_bad:
                _refuse(f"tensor {name} has NaN or infinite weights ({n_bad} in one block of the file)", tensor.file)
            left -= block.nbytes


def _weights_sha256(files: list[Path]) -> str:
    digests = {file.name: _file_sha256(file) for file in files}
    if len(files) == 1:
        return digests[files[0].name]
    lines = "".join(f"{name} {digest}\n" for name, digest in sorted(digests.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def _file_sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while content := file.read(_BLOCK_BYTES):
            digest.update(content)
    return digest.hexdigest()
