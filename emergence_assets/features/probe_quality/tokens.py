"""Tokens of the probe texts of a study before it runs, where a tokenizer of its family is on this machine."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from emergence_assets.checkpoints.architecture import is_language_model
from emergence_assets.checkpoints.files.folder import architecture_of
from emergence_assets.checkpoints.sources.of_family import source_of
from emergence_assets.checkpoints.sources.source import CheckpointRef, Source, reference
from emergence_assets.plan.timeline import read_timeline
from emergence_assets.study.study import Study
from emergence_assets.texts.probe_set import ProbeSet
from emergence_assets.texts.tokenising import probe_ids
from emergence_assets.texts.wordnet import corpus
from resources.files.storage import Storage


class ReadTexts(NamedTuple):
    """Texts that the study reads."""

    n_tokens: dict[str, int]
    """Number of tokens by text_id; texts that are not read are left out."""
    read_out_token: str
    """Last token of all texts."""


def read_texts(study: Study, storage: Storage, probes: ProbeSet) -> ReadTexts | None:
    """Tokenise the probe texts as a run does; None while no checkpoint of the family is on this machine.

    Raises:
        EmergenceError: the source or its tokenizer cannot be read, or the texts do not fit the study.
    """
    if study.family.trained_here:
        return _tokenised(study, probes, corpus.TOKENIZER_PATH, is_encoder=False)
    source = source_of(study.family, storage)
    ref = next((ref for ref in _listed(study, storage, source) if source.is_cached(ref)), None)
    if ref is None:
        return None
    with source.fetch(ref, lambda *_: None) as folder:
        is_encoder = not is_language_model(architecture_of(folder))
        return _tokenised(study, probes, folder / "tokenizer.json", is_encoder=is_encoder)


def _listed(study: Study, storage: Storage, source: Source) -> Iterator[CheckpointRef]:
    """Yield the checkpoints of the family: by the timeline, or in a folder that nobody looked at by its listing."""
    for model in study.models:
        timeline = read_timeline(storage.timeline(model))
        if timeline is not None:
            refs = (reference(model, entry) for entry in timeline.entries)
            yield from (ref for ref in refs if ref)
        elif source.lock_file is None:
            yield from source.list(model).checkpoints


def _tokenised(study: Study, probes: ProbeSet, tokenizer: Path, *, is_encoder: bool) -> ReadTexts:
    from tokenizers import Tokenizer

    family = study.family
    ids = probe_ids(tokenizer, probes.texts, family.context, begin_token=family.begin_token, is_encoder=is_encoder)
    last = [int(next(iter(ids.values()))[-1])]
    read_out = Tokenizer.from_file(str(tokenizer)).decode(last, skip_special_tokens=False)
    return ReadTexts({name: len(one) for name, one in ids.items()}, read_out)
