"""Assertions on the tables of the quick study in EMERGENCE_DATA."""

import json
import subprocess
import sys
from pathlib import Path

import polars as pl

from resources.files.storage import Storage, data_folder

emergence = str(Path(sys.executable).with_name("emergence"))
storage = Storage(data_folder(), "quick")
status = json.loads(subprocess.check_output([emergence, "--study", "quick", "status", "--json"]))
assert status, "no assets"
for asset in status:
    assert asset["done"] == asset["total"] > 0, asset

presence = pl.read_parquet(storage.root / "tables" / "category_presence" / "*.parquet", hive_partitioning=False)
subject = presence.filter(pl.col("category_level") == "subject")
shuffled = subject.filter(pl.col("control_id") == "label_shuffle")
assert 0.48 < shuffled["p_best"].mean() < 0.52, shuffled["p_best"].mean()
largest = subject.filter(pl.col("control_id") == "none", pl.col("model") == "gloss-200k")
first, last = (largest.filter(pl.col("step") == step)["p_best"].mean() for step in (0, 512))
assert last - first > 0.06, (first, last)
last_step = largest.filter(pl.col("step") == 512)
assert last_step["net_gain"].mean() > 0, last_step["net_gain"].mean()
use = pl.read_parquet(storage.root / "tables" / "feature_use" / "*.parquet", hive_partitioning=False)
assert use.filter(pl.col("aggregate") == "none").height > 0, "no category rises"
fvu = pl.read_parquet(storage.root / "tables" / "sae_metrics" / "*.parquet", hive_partitioning=False)["fvu"]
assert 0 < fvu.min() <= fvu.max() < 1, (fvu.min(), fvu.max())
registry = pl.read_parquet(storage.root / "tables" / "checkpoint_registry" / "*.parquet", hive_partitioning=False)
left_out = registry.filter(pl.col("status") != "ok").select("model", "step", "reason")
assert len(registry) == 12, registry
assert left_out.is_empty(), left_out
page = (storage.report_folder() / "index.html").read_text(encoding="utf-8")
assert "</html>" in page
print(f"gloss-200k rises from {first:.3f} to {last:.3f}, shuffled labels {shuffled['p_best'].mean():.3f}")
storage_found = json.loads(subprocess.check_output([emergence, "--study", "quick", "storage", "--json"]))
now, finished = (sum(asset[f"bytes_{name}"] for asset in storage_found["assets"]) for name in ("now", "finished"))
assert abs(finished / now - 1) < 0.05, (now, finished)
print(f"predicted {finished} bytes on disk, took {now}")
