"""SAELens: write shards with its runner, read them with its ActivationsStore. Runs in `.peers`.

No model runs: the runner is given rows in place of activations, so that only its storage is measured.
"""

import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import datasets
import numpy as np
import torch
from datasets import Array2D, Features, Sequence, Value
from peers_store import BATCH_SIZE, CONTEXT, D_MODEL
from sae_lens.cache_activations_runner import CacheActivationsRunner
from sae_lens.training.activations_store import ActivationsStore

HOOK = "blocks.3.hook_resid_post"
SHARD_SEQUENCES = 512
STORE_SEQUENCES = 32
"""Number of sequences that the store reads at a time."""
BUFFER_SEQUENCES = 512
"""Number of sequences in the mixing buffer of the store: a quarter of the rows."""


def write(rows_td: np.ndarray, folder: Path) -> None:
    """Write shards with `_create_shard` and `_consolidate_shards`, as `CacheActivationsRunner.run` does."""
    datasets.disable_progress_bars()
    runner = SimpleNamespace()
    runner.context_size = CONTEXT
    runner.cfg = SimpleNamespace(hook_name=HOOK, n_seq_in_buffer=SHARD_SEQUENCES, d_in=D_MODEL)
    runner.features = Features(
        {
            HOOK: Array2D(shape=(CONTEXT, D_MODEL), dtype="float16"),
            "token_ids": Sequence(Value(dtype="int32"), length=CONTEXT),
        }
    )
    shards = folder / ".tmp_shards"
    shards.mkdir()
    shard_rows = SHARD_SEQUENCES * CONTEXT
    for number, start in enumerate(range(0, len(rows_td), shard_rows)):
        resid_td = torch.from_numpy(rows_td[start : start + shard_rows])
        shard = CacheActivationsRunner._create_shard(runner, (resid_td, torch.zeros(len(resid_td), dtype=torch.int32)))
        shard.save_to_disk(str(shards / f"shard_{number:05d}"), num_shards=1)
    CacheActivationsRunner._consolidate_shards(shards, folder, copy_files=False)


def batches(folder: Path, order: np.ndarray) -> Iterator[torch.Tensor]:
    """Read in its own order: sequences in order through a mixing buffer, half of which stays."""
    warnings.simplefilter("ignore")
    store = ActivationsStore(
        model=None,
        dataset=None,
        streaming=False,
        hook_name=HOOK,
        hook_head_index=None,
        context_size=CONTEXT,
        d_in=D_MODEL,
        n_batches_in_buffer=BUFFER_SEQUENCES,
        total_training_tokens=len(order),
        store_batch_size_prompts=STORE_SEQUENCES,
        train_batch_size_tokens=BATCH_SIZE,
        prepend_bos=False,
        normalize_activations="none",
        device=torch.device("cpu"),
        dtype="float16",
        cached_activations_path=str(folder),
    )
    for _ in range(len(order) // BATCH_SIZE):
        yield store.next_batch()
