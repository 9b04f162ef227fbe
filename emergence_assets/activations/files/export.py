"""Export rows in the layouts that other trainers read as cached activations, as float32, which holds all types exactly.

The caller chooses the cells. SAEs are exported by `saes/exporting.py`.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from emergence_assets.activations.files.reading import Rows
from emergence_assets.texts.tokens import Tokens
from resources.errors import EmergenceError
from resources.files.atomic import clear_disk_errors, replacing_folder

ROWS_AT_ONCE = 8192
SHARD_ROWS = 1_000_000
"""Rows per shard, as in dictionary_learning."""


def require_new_folder(folder: Path) -> None:
    """Refuse to overwrite a folder that is not empty.

    Raises:
        EmergenceError: the folder is there and is not empty.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise EmergenceError("The folder is not empty.", where=folder, remedy="choose a new folder")


def export_for_sae_lens(rows: Rows, tokens: Tokens, hook_name: str, context_size: int, folder: Path) -> int:
    """Write a folder that `sae_lens` takes as `cached_activations_path`, with `use_cached_activations`.

    The folder is a data set of Hugging Face `datasets` with sequences of equal length: a column `Array2D`
    [context_size, d_model] named after the hook, and `token_ids`. Rows are in the order of the activation file, so that
    a sequence may run across texts; `sae_lens` shuffles single rows, and uses token ids only to leave rows out.

    Args:
        rows: Rows of resid_post.
        tokens: Tokens of the rows.
        hook_name: Name in TransformerLens, such as `blocks.3.hook_resid_post`; the `hook_name` of the trainer.
        context_size: Rows per sequence, the `context_size` of the trainer; the last incomplete sequence is left out.
        folder: A new or empty folder.

    Returns:
        Number of sequences written.

    Raises:
        EmergenceError: the folder is not empty, the disk is full, or there are fewer rows than one sequence.
    """
    require_new_folder(folder)
    n_sequences, d_model = len(rows) // context_size, rows.array.shape[1]
    if n_sequences == 0:
        raise EmergenceError(f"{len(rows)} rows do not fill a sequence of {context_size}.", remedy="lower --context")
    features = {
        hook_name: {"shape": [context_size, d_model], "dtype": "float32", "_type": "Array2D"},
        "token_ids": {"feature": {"dtype": "int32", "_type": "Value"}, "length": context_size, "_type": "List"},
    }
    schema = _array_schema(hook_name, context_size, d_model, features)
    data_name = "data-00000-of-00001.arrow"
    with clear_disk_errors(folder), replacing_folder(folder) as temporary:
        with pa.OSFile(str(temporary / data_name), "wb") as sink, pa.ipc.new_stream(sink, schema) as stream:
            at_once = max(1, ROWS_AT_ONCE // context_size)
            for first in range(0, n_sequences, at_once):
                start, stop = first * context_size, min(first + at_once, n_sequences) * context_size
                ids_t = tokens.training_rows.token_id_t[start:stop]
                stream.write_batch(_sequences(rows.float32(start, stop), ids_t, context_size, schema))
        state = {"_data_files": [{"filename": data_name}], "_fingerprint": tokens.fingerprint[:16]}
        state |= {"_format_columns": None, "_format_kwargs": {}, "_format_type": None}
        state |= {"_output_all_columns": False, "_split": None}
        _write_json(temporary / "state.json", state)
        info = {"citation": "", "description": "", "features": features, "homepage": "", "license": ""}
        _write_json(temporary / "dataset_info.json", info)
    return n_sequences


def export_for_dictionary_learning(rows: Rows, context_size: int, folder: Path) -> int:
    """Write a folder that dictionary_learning's `ActivationCache` opens: shards of raw float32 rows.

    Args:
        rows: Rows of resid_post.
        context_size: Longest text in tokens, stored in the config only.
        folder: A new or empty folder.

    Returns:
        Number of shards written.

    Raises:
        EmergenceError: the folder is not empty, or the disk is full.
    """
    require_new_folder(folder)
    d_model = rows.array.shape[1]
    with clear_disk_errors(folder), replacing_folder(folder) as temporary:
        starts = range(0, len(rows), SHARD_ROWS)
        for shard, start in enumerate(starts):
            stop = min(start + SHARD_ROWS, len(rows))
            with (temporary / f"shard_{shard}.memmap").open("wb") as file:
                for block in range(start, stop, ROWS_AT_ONCE):
                    file.write(rows.float32(block, min(block + ROWS_AT_ONCE, stop)).astype("<f4").data)
            _write_json(temporary / f"shard_{shard}.meta", {"shape": [stop - start, d_model]})
        config = {"batch_size": 0, "context_len": context_size, "shard_size": SHARD_ROWS, "d_model": d_model}
        config |= {"shuffle_shards": False, "io": "out", "total_size": len(rows), "shard_count": len(starts)}
        _write_json(temporary / "config.json", config)
    return len(starts)


LAYOUTS: dict[str, Callable[[Rows, Tokens, str, int, Path], int]] = {
    "sae_lens": export_for_sae_lens,
    "dictionary_learning": lambda rows, tokens, _hook, _context, folder: export_for_dictionary_learning(
        rows, tokens.context, folder
    ),
}
"""Writer of each layout, by the name of the library that reads it."""


def _array_schema(hook_name: str, context_size: int, d_model: int, features: Mapping[str, object]) -> pa.Schema:
    """Make the schema of `datasets`, whose array type is marked by two metadata entries of the field."""
    extension = {
        "ARROW:extension:name": "datasets.features.features.Array2DExtensionType",
        "ARROW:extension:metadata": json.dumps([[context_size, d_model], "float32"]),
    }
    array = pa.field(hook_name, pa.list_(pa.list_(pa.float32())), metadata=extension)
    ids = pa.field("token_ids", pa.list_(pa.int32(), context_size))
    return pa.schema([array, ids], metadata={"huggingface": json.dumps({"info": {"features": features}})})


def _sequences(x_td: np.ndarray, token_id_t: np.ndarray, context_size: int, schema: pa.Schema) -> pa.RecordBatch:
    n_rows, d_model = x_td.shape
    inner = pa.ListArray.from_arrays(np.arange(0, (n_rows + 1) * d_model, d_model, dtype=np.int32), x_td.reshape(-1))
    outer = pa.ListArray.from_arrays(np.arange(0, n_rows + 1, context_size, dtype=np.int32), inner)
    ids = pa.FixedSizeListArray.from_arrays(pa.array(token_id_t, pa.int32()), context_size)
    return pa.RecordBatch.from_arrays([outer, ids], schema=schema)


def _write_json(path: Path, content: Mapping[str, object]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
