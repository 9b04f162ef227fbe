"""Content of a small lock file, for tests of lock files."""

from dataclasses import replace

from emergence_assets.checkpoints.sources.lock_file import Lock, Pin, PinnedModel
from resources.hub.pinned_file import PinnedFile

PIN = Pin(
    8,
    "step8",
    "a" * 40,
    "",
    (PinnedFile("model.safetensors", 1000, "b" * 64, ""),),
    (PinnedFile("config.json", 10, "", "c" * 40),),
)
REPOSITORY = "someone/gloss-tiny"
PINNED = PinnedModel(REPOSITORY, (replace(PIN, step=0, revision="step0"), PIN))
LOCK = Lock({"gloss-tiny": PINNED})
