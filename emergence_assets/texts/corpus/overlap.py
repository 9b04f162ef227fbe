"""Overlap of a corpus with the probe texts: documents that share a run of words with one are left out.

A latent that was trained on a probe text may know it by heart. As in the decontamination of evaluation data (Brown et
al. 2020, "Language Models are Few-Shot Learners", appendix C) a shared run of 13 words counts, after normalisation.
"""

from collections.abc import Iterable, Iterator

import xxhash

from emergence_assets.texts.words import words

RUN_WORDS = 13


class ProbeRuns:
    """All runs of 13 words in the probe texts; a shorter text has none."""

    def __init__(self, texts: Iterable[str]):
        """Hash the runs of all texts."""
        self._runs = {run for text in texts for run in _runs(text)}

    def overlaps(self, document: str) -> bool:
        """Return whether a document has a run of a probe text."""
        return bool(self._runs) and any(run in self._runs for run in _runs(document))


def _runs(text: str) -> Iterator[int]:
    found = words(text)
    for start in range(len(found) - RUN_WORDS + 1):
        yield xxhash.xxh3_64_intdigest("\0".join(found[start : start + RUN_WORDS]).encode())
