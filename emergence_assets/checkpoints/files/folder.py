"""Name, facts and consistency checks of a checkpoint folder.

No torch: headers are parsed, and weights are read in blocks. What is checked here is true of any architecture; names
and shapes of the weights are those of a class, which `models.loading` compares when it loads the model.

A checkpoint folder holds `config.json`, `tokenizer.json` and either `model.safetensors` or several such files named by
`model.safetensors.index.json`, in the layout of Hugging Face.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, Field, TypeAdapter

from emergence_assets.checkpoints.files.safetensors_file import (
    FETCH_AGAIN,
    MAX_JSON_BYTES,
    Tensor,
    n_not_finite,
    read_blocks,
    read_header,
    refuse,
)
from resources.errors import BrokenCheckpoint
from resources.files.checked_json import STRICT, parse_checked

T = TypeVar("T", bound=BaseModel)
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
# Masks, positions and rotary frequencies that older versions of transformers saved among the weights; no parameters.
_BUFFERS = re.compile(r"(attention|attn)\.(bias|masked_bias)$|rotary_emb\.inv_freq$|position_ids$")
_EMBEDDING = re.compile(r"embed(?!_out)|wte")  # not the unembedding of GPT-NeoX


class _Config(BaseModel, strict=True):
    """Values of config.json that all architectures have."""

    model_type: str = Field(min_length=1)
    architectures: list[str] = Field(min_length=1)


class _Tokenizer(BaseModel):
    model: dict[str, Any]


class _Index(BaseModel):
    weight_map: dict[str, Any] = Field(min_length=1)


@dataclass(frozen=True)
class FolderFacts:
    """Facts of a checkpoint folder whose files agree with each other."""

    __pydantic_config__ = STRICT
    model_type: str
    """Model type of transformers, such as gpt_neox."""
    architecture: str
    """Class of transformers, such as GPTNeoXForCausalLM."""
    weights_sha256: str
    """Hash of the weights file; with several files, hash of the sorted lines "name hash"."""
    config_sha256: str
    """Hash of config.json."""
    tokenizer_sha256: str
    """Hash of tokenizer.json."""
    weights_bytes: int
    """Size of all weights files."""


def step_folder_name(step: int) -> str:
    """Return the name of a checkpoint's folder, and of its revision on the hub, such as `step512`."""
    if step < 0:
        raise ValueError(f"step must not be negative, got {step}")
    return f"step{step}"


def architecture_of(folder: Path) -> str:
    """Return the class of the model that config.json names.

    Raises:
        BrokenCheckpoint: config.json is missing or damaged.
    """
    return _read_json(folder / "config.json", _Config)[0].architectures[0]


def read_facts(folder: Path, *, check_finite: bool = True) -> FolderFacts:
    """Read the facts of one checkpoint folder from its files, and check that they agree.

    Args:
        folder: the checkpoint folder.
        check_finite: also check that every weight is finite.

    Raises:
        BrokenCheckpoint: a file is missing or damaged, the files disagree, or weights are not finite; names the file.
    """
    with reading(folder):
        contents = read_contents(folder)
        hashes: dict[str, str] = {}
        for _ in read_weights(contents, hashes, check_finite=check_finite):
            pass
    return replace(contents.facts, weights_sha256=weights_sha256(hashes))


def check_whole(folder: Path) -> None:
    """Check by configs, headers and file sizes alone that a checkpoint is complete; no weights are read.

    Raises:
        BrokenCheckpoint: a file is missing or damaged, or the files disagree; names the file.
    """
    with reading(folder):
        read_contents(folder)


class Contents(NamedTuple):
    """Contents of a checkpoint folder by its small files and headers, which agree with each other."""

    facts: FolderFacts
    """Facts with an empty `weights_sha256`, because the weights are not read."""
    files: list[Path]
    """Weights files, by name."""
    tensors: dict[str, Tensor]
    """All tensors, by name."""


def read_contents(folder: Path) -> Contents:
    """Read the contents of a checkpoint folder without its weights.

    Raises:
        BrokenCheckpoint: a file is missing or damaged, or the files disagree.
        OSError: a file cannot be read.
    """
    config, config_sha256 = _read_json(folder / "config.json", _Config)
    _, tokenizer_sha256 = _read_json(folder / "tokenizer.json", _Tokenizer)
    files = weights_files(folder)
    tensors: dict[str, Tensor] = {}
    for file in files:
        for name, tensor in read_header(file).items():
            if name in tensors:
                refuse(f"tensor {name} is also in {tensors[name].file.name}", file)
            tensors[name] = tensor
    if files[0].name != SINGLE:
        _require_indexed(folder / INDEX, tensors)
    facts = FolderFacts(
        model_type=config.model_type,
        architecture=config.architectures[0],
        weights_sha256="",
        config_sha256=config_sha256,
        tokenizer_sha256=tokenizer_sha256,
        weights_bytes=sum(file.stat().st_size for file in files),
    )
    return Contents(facts, files, tensors)


def read_weights(
    contents: Contents, hashes: dict[str, str], *, check_finite: bool = True
) -> Iterator[tuple[str, Tensor, int, bytes]]:
    """Read all weights once.

    Args:
        contents: contents of the folder.
        hashes: receives the SHA-256 of every weights file, by name.
        check_finite: check that every weight is finite.

    Yields:
        Blocks of tensors, see `read_blocks`.

    Raises:
        BrokenCheckpoint: a weight is NaN or infinite, or a file became shorter.
    """
    for file in contents.files:
        running = hashlib.sha256()
        own = {name: tensor for name, tensor in contents.tensors.items() if tensor.file == file}
        for name, tensor, offset, content in read_blocks(file, own, running.update):
            if check_finite and (n_bad := n_not_finite(tensor, content)):
                refuse(f"tensor {name} has NaN or infinite weights ({n_bad} in one block of the file)", file)
            yield name, tensor, offset, content
        hashes[file.name] = running.hexdigest()


def weights_sha256(hashes: dict[str, str]) -> str:
    """Combine hashes of weights files: the hash of the only file, else the hash of the sorted lines "name hash"."""
    if len(hashes) == 1:
        return next(iter(hashes.values()))
    lines = "".join(f"{name} {digest}\n" for name, digest in sorted(hashes.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def is_buffer(name: str) -> bool:
    """Return whether a tensor is no parameter but a causal mask or frequency table saved among the weights."""
    return bool(_BUFFERS.search(name))


def is_embedding(name: str) -> bool:
    """Return whether the name of a tensor outside the blocks is that of a token embedding, not the unembedding."""
    return bool(_EMBEDDING.search(name))


@contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Raise an error of the disk as BrokenCheckpoint.

    Raises:
        BrokenCheckpoint: a file cannot be read.
    """
    try:
        yield
    except OSError as error:
        what = f"cannot read this checkpoint: {error.strerror}"
        raise BrokenCheckpoint(what, where=error.filename or folder, remedy=FETCH_AGAIN) from error


def _read_json(path: Path, kind: type[T], remedy: str = FETCH_AGAIN) -> tuple[T, str]:
    """Read a JSON file as an instance of a model; also return its SHA-256."""
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise ValueError(f"it is larger than {MAX_JSON_BYTES} bytes")
        content = path.read_bytes()
        return parse_checked(content, TypeAdapter(kind)), hashlib.sha256(content).hexdigest()
    except FileNotFoundError:
        refuse(f"{path.name} is missing", path, remedy)
    except ValueError as error:
        refuse(f"{path.name.removesuffix('.json')} cannot be read: {error}", path, remedy)


def weights_files(folder: Path) -> list[Path]:
    """List the safetensors files of a checkpoint, sorted by name.

    Raises:
        BrokenCheckpoint: there are none, a file of the index is missing, or the index holds an invalid file name.
    """
    single, index = folder / SINGLE, folder / INDEX
    if single.exists():
        return [single]
    if not index.exists():
        if any(folder.glob("pytorch_model*.bin")):
            remedy = "convert them to model.safetensors with save_pretrained, or choose a revision that has it"
            refuse("weights exist only as pickles, which can run code when loaded", folder, remedy)
        refuse("model.safetensors is missing", single)
    return indexed_files(index, r"[\w.-]+\.safetensors")


def indexed_files(index: Path, pattern: str, remedy: str = FETCH_AGAIN) -> list[Path]:
    """List the files that an index of weights names, sorted by name.

    Args:
        index: path of the index.
        pattern: regular expression of file names.
        remedy: remedy of every error.

    Raises:
        BrokenCheckpoint: the index is no index, holds an invalid file name, or a file is missing.
    """
    names = sorted({str(name) for name in _read_json(index, _Index, remedy)[0].weight_map.values()})
    for name in names:
        # A hostile index must not lead to a file outside the folder.
        if not re.fullmatch(pattern, name):
            refuse(f"index has an invalid file name {name!r:.100}", index, remedy)
        if not (index.parent / name).exists():
            refuse(f"{name} is missing", index.parent / name, remedy)
    return [index.parent / name for name in names]


def _require_indexed(index: Path, tensors: dict[str, Tensor]) -> None:
    for name, file in _read_json(index, _Index)[0].weight_map.items():
        if name not in tensors or tensors[name].file.name != file:
            refuse(f"index places tensor {name} in {file}, which does not hold it", index)


def layer_of_tensors(names: Iterable[str]) -> dict[str, tuple[int, str]]:
    """Map every tensor of a block to its layer and its name inside the block."""
    lists: dict[str, dict[str, tuple[int, str]]] = {}
    for name in names:
        if numbered := re.match(r"(.*?)\.([0-9]{1,9})\.(.+)", name):
            prefix, layer, rest = numbered.groups()
            lists.setdefault(prefix, {})[name] = (int(layer), rest)
    return max(lists.values(), key=len, default={})
