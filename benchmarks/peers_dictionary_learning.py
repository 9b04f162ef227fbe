"""dictionary_learning: memory-mapped float32 shards, rows one by one through a DataLoader. Runs in `.peers`.

The released package has no activation cache; this follows the calls of `dictionary_learning/cache.py` in its repository
(5ad595d): numpy maps with a JSON file beside each, a data set that gives one row as a float32 tensor.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from peers_store import BATCH_SIZE
from torch.utils.data import DataLoader, Dataset

SHARD_ROWS = 65_536


def write(rows_td: np.ndarray, folder: Path) -> None:
    """Each shard through a map that is flushed; half precision becomes float32 first."""
    starts = range(0, len(rows_td), SHARD_ROWS)
    for number, start in enumerate(starts):
        wide_td = torch.from_numpy(rows_td[start : start + SHARD_ROWS]).to(torch.float32).numpy()
        shard = np.memmap(folder / f"shard_{number}.memmap", np.float32, "w+", shape=wide_td.shape)
        shard[:] = wide_td
        shard.flush()
        (folder / f"shard_{number}.meta").write_text(json.dumps({"shape": list(wide_td.shape)}))
    (folder / "config.json").write_text(json.dumps({"total_size": len(rows_td), "shard_count": len(starts)}))


def batches(folder: Path, order: np.ndarray) -> Iterator[torch.Tensor]:
    """A DataLoader that shuffles, in this process."""
    return iter(DataLoader(_Cache(folder), batch_size=BATCH_SIZE, shuffle=True, drop_last=True))


class _Cache(Dataset):
    """Rows of all shards by number."""

    def __init__(self, folder: Path):
        config = json.loads((folder / "config.json").read_text())
        metas = [json.loads((folder / f"shard_{number}.meta").read_text()) for number in range(config["shard_count"])]
        self.total_size = config["total_size"]
        self.shards = [
            np.memmap(folder / f"shard_{number}.memmap", np.float32, "r", shape=tuple(meta["shape"]))
            for number, meta in enumerate(metas)
        ]
        self.starts = np.cumsum([0, *(len(shard) for shard in self.shards)])

    def __len__(self) -> int:
        return self.total_size

    def __getitem__(self, index: int) -> torch.Tensor:
        number = int(np.searchsorted(self.starts, index, side="right")) - 1
        return torch.tensor(self.shards[number][index - self.starts[number]], dtype=torch.float32)
