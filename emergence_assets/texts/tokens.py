"""Token ids of the texts, the rows of the activation files that follow from them, and the token file.

`docs/activation-format.md` describes the format "emergence-tokens" version 1.

Shape suffixes: t rows.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Literal, NamedTuple

import h5py
import numpy as np

from resources.files.atomic import publish
from resources.files.versions import per_version
from resources.hdf5.guarded import GuardedFile, open_guarded
from resources.hdf5.hdf5 import (
    LIBVER,
    AttrValue,
    create_contiguous,
    full_disk_explained,
    temporary_path,
    write_attrs,
    write_unconverted,
)

FORMAT = "emergence-tokens"
FORMAT_VERSION = 1
Positions = Literal["read_out", "all"]


class TrainingRows(NamedTuple):
    """Token, text and position of each row of /resid_post."""

    token_id_t: np.ndarray
    text_index_t: np.ndarray
    """Index into `Tokens.training_ids`."""
    position_t: np.ndarray
    """Position in its text; the begin token has position 0 and is never a row."""
    text_offsets: np.ndarray
    """Rows of training text i are text_offsets[i]:text_offsets[i + 1]."""


@dataclass(frozen=True, eq=False)  # arrays have no single truth value: compare fingerprints
class Tokens:
    """Token ids of training texts and probe texts, including the begin token.

    Raises:
        ValueError: a text has only the begin token or exceeds the context, or ids and names do not match.
    """

    training_text_id: tuple[str, ...]
    training_ids: tuple[np.ndarray, ...]
    """int32 arrays, one per text."""
    probe_text_id: tuple[str, ...]
    probe_ids: tuple[np.ndarray, ...]
    positions: Positions
    """Tokens of a training text that become rows: the last one ("read_out") or all but the begin token ("all")."""
    context: int
    """Length limit of a text in tokens."""
    dropped_training: tuple[str, ...] = ()
    """text_id of texts that were too long; empty for tokens from a file."""
    dropped_probe: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.positions not in ("read_out", "all"):
            raise ValueError(f"positions is read_out or all, not {self.positions!r}")
        for names, ids in ((self.training_text_id, self.training_ids), (self.probe_text_id, self.probe_ids)):
            if not ids or len(names) != len(ids) or len(set(names)) != len(names):
                raise ValueError("every text needs its own text_id, and there has to be at least one text")
            if any(one.dtype != np.int32 or one.ndim != 1 or not 2 <= len(one) <= self.context for one in ids):
                raise ValueError(f"a text has 2 to {self.context} token ids of type int32")

    @property
    def n_rows(self) -> int:
        """Rows of /resid_post."""
        return len(self.training_rows.token_id_t)

    def n_texts_of(self, n_rows: int) -> int:
        """Return the number of first training texts with at most `n_rows` rows together, at least one text."""
        ends = self.training_rows.text_offsets[1:]
        return max(1, int(np.searchsorted(ends, n_rows, side="right")))

    @property
    def n_probes(self) -> int:
        """Rows of /read_out."""
        return len(self.probe_ids)

    @cached_property
    def training_rows(self) -> TrainingRows:
        """The rows of /resid_post in order: text by text, position by position."""
        n_tokens = np.array([len(ids) for ids in self.training_ids], np.int64)
        first = n_tokens - 1 if self.positions == "read_out" else np.ones_like(n_tokens)
        positions = [np.arange(start, stop, dtype=np.int32) for start, stop in zip(first, n_tokens, strict=True)]
        return TrainingRows(
            np.concatenate([ids[start:] for ids, start in zip(self.training_ids, first, strict=True)]),
            np.repeat(np.arange(len(n_tokens), dtype=np.int32), n_tokens - first),
            np.concatenate(positions),
            np.concatenate([[0], np.cumsum(n_tokens - first)]),
        )

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of all that determines the rows of the activation files: ids, names, order, positions."""
        running = hashlib.sha256(f"{FORMAT} {FORMAT_VERSION} {self.positions} {self.context}\n".encode())
        for names, all_ids in ((self.training_text_id, self.training_ids), (self.probe_text_id, self.probe_ids)):
            running.update(f"{len(names)}\n".encode())
            for name, ids in zip(names, all_ids, strict=True):
                encoded = name.encode()
                running.update(f"{len(encoded)} {len(ids)} ".encode() + encoded + ids.astype("<i4").tobytes())
        return running.hexdigest()


def write_tokens(path: Path, tokens: Tokens, corpus: Mapping[str, int | str] | None = None) -> None:
    """Write a token file atomically, replacing an existing one.

    Args:
        path: final name.
        tokens: content.
        corpus: of a training corpus its `identity` and what was read of it, `tokenising.CorpusCounts`; none for texts
            of their own.

    Raises:
        EmergenceError: the disk is full.
    """
    columns = _columns(tokens)
    root: dict[str, AttrValue] = {"format": FORMAT, "format_version": FORMAT_VERSION, "positions": tokens.positions}
    root |= {"context": tokens.context, "fingerprint": tokens.fingerprint, "complete": 1}
    root |= {f"corpus_{name}": value for name, value in (corpus or {}).items()}
    path = Path(path)
    temporary = temporary_path(path)
    n_bytes = sum(values.nbytes for values in columns.values()) + (1 << 16)
    try:
        with full_disk_explained(path.parent, n_bytes):
            with h5py.File(temporary, "x", libver=LIBVER, locking=False) as file:
                write_attrs(file, root)
                for name, values in columns.items():
                    group, _, column = name.partition("/")
                    kind = f"utf8:{values.itemsize}" if values.dtype.kind == "S" else values.dtype.name
                    dataset = create_contiguous(file.require_group(group), column, values.shape, kind)
                    write_unconverted(dataset, values)
            publish(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_tokens(path: Path) -> Tokens:
    """Read a token file and check its fingerprint and row columns against the token ids.

    Raises:
        EmergenceError: the file is missing, damaged, unsafe, of another format, or inconsistent.
    """
    with open_guarded(path, FORMAT, FORMAT_VERSION) as guarded:
        positions, context = guarded.attrs.get("positions"), guarded.attrs.get("context")
        if positions not in ("read_out", "all") or not isinstance(context, int):
            raise guarded.refuse(f"positions is {positions!r} and context is {context!r}.")
        training_ids, training_text_id = _texts(guarded, "training")
        probe_ids, probe_text_id = _texts(guarded, "probe")
        tokens = Tokens(training_text_id, training_ids, probe_text_id, probe_ids, positions, context)
        if tokens.fingerprint != guarded.attrs.get("fingerprint"):
            raise guarded.refuse("Fingerprint mismatch: the token ids were changed.")
        for name, expected in _columns(tokens).items():
            if not np.array_equal(_array(guarded, name), expected):
                raise guarded.refuse(f"{name} does not follow from the token ids.")
        return tokens


def read_corpus(path: Path) -> dict[str, AttrValue]:
    """Return identity and counts of the training corpus of a token file; empty for texts of their own.

    Raises:
        EmergenceError: the file is damaged, unsafe or of another format.
    """
    with open_guarded(path, FORMAT, FORMAT_VERSION) as guarded:
        found = {name: value for name, value in guarded.attrs.items() if name.startswith("corpus_")}
        return {name.removeprefix("corpus_"): value for name, value in found.items()}


def known_tokens(path: Path) -> Tokens:
    """Read a token file once per process and version of the file, because every cell of a study needs it.

    Raises:
        EmergenceError: see `read_tokens`.
    """
    return per_version(path, read_tokens)


def _columns(tokens: Tokens) -> dict[str, np.ndarray]:
    rows = tokens.training_rows
    return {
        "training/ids": np.concatenate(tokens.training_ids),
        "training/ids_offsets": _offsets(tokens.training_ids),
        "training/text_id": _padded(tokens.training_text_id),
        "training/token_id": rows.token_id_t,
        "training/text_index": rows.text_index_t,
        "training/position": rows.position_t,
        "training/text_offsets": rows.text_offsets,
        "probe/ids": np.concatenate(tokens.probe_ids),
        "probe/ids_offsets": _offsets(tokens.probe_ids),
        "probe/text_id": _padded(tokens.probe_text_id),
        "probe/read_out_token_id": np.array([ids[-1] for ids in tokens.probe_ids], np.int32),
        "probe/read_out_position": np.array([len(ids) - 1 for ids in tokens.probe_ids], np.int32),
    }


def _offsets(ids: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum([len(one) for one in ids])]).astype(np.int64)


def _padded(names: Sequence[str]) -> np.ndarray:
    encoded = [name.encode() for name in names]
    return np.array(encoded, dtype=f"S{max(1, *map(len, encoded))}")


def _array(guarded: GuardedFile, name: str) -> np.ndarray:
    facts = guarded.facts(name)
    if len(facts.shape) != 1:
        raise guarded.refuse(f"{name} has {len(facts.shape)} dimensions, expected 1.")
    return guarded.read(facts)


def _texts(guarded: GuardedFile, group: str) -> tuple[tuple[np.ndarray, ...], tuple[str, ...]]:
    ids, offsets = _array(guarded, f"{group}/ids"), _array(guarded, f"{group}/ids_offsets")
    names = tuple(name.decode() for name in _array(guarded, f"{group}/text_id").tolist())
    if ids.dtype != np.int32 or offsets.dtype != np.int64:
        raise guarded.refuse(f"{group}/ids has to be int32 and {group}/ids_offsets int64.")
    if offsets[0] != 0 or offsets[-1] != len(ids) or (np.diff(offsets) < 2).any():
        raise guarded.refuse(f"{group}/ids_offsets does not divide {len(ids)} token ids into texts of at least 2.")
    return tuple(ids[start:stop] for start, stop in pairwise(offsets.tolist())), names
