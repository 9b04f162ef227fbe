"""Tokens of the probe texts of a study before it runs, where a tokenizer of its family is on this machine."""

from pathlib import Path
from typing import NamedTuple

from emergence_assets.checkpoints.architecture import is_language_model
from emergence_assets.checkpoints.files.folder import architecture_of
from emergence_assets.checkpoints.sources.of_family import source_of
from emergence_assets.study.study import Study
from emergence_assets.texts.probe_set import ProbeSet
from emergence_assets.texts.tokenising import probe_ids
from emergence_assets.texts.wordnet import corpus
from resources.errors import EmergenceError
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
        EmergenceError: the tokenizer of a checkpoint cannot be read, or the texts do not fit the study.
    """
    if study.family.trained_here:
        return _tokenised(study, probes, corpus.TOKENIZER_PATH, is_encoder=False)
    source = source_of(study.family, storage)
    listed = (ref for model in study.models for ref in source.list(model).checkpoints)
    try:
        ref = next((ref for ref in listed if source.is_cached(ref)), None)
    except EmergenceError:  # a folder that is away: reports are made without it, and `emergence checkpoints` names it
        return None
    if ref is None:
        return None
    with source.fetch(ref, lambda *_: None) as folder:
        is_encoder = not is_language_model(architecture_of(folder))
        return _tokenised(study, probes, folder / "tokenizer.json", is_encoder=is_encoder)


def _tokenised(study: Study, probes: ProbeSet, tokenizer: Path, *, is_encoder: bool) -> ReadTexts:
    from tokenizers import Tokenizer

    family = study.family
    ids = probe_ids(tokenizer, probes.texts, family.context, begin_token=family.begin_token, is_encoder=is_encoder)
    last = [int(next(iter(ids.values()))[-1])]
    read_out = Tokenizer.from_file(str(tokenizer)).decode(last, skip_special_tokens=False)
    return ReadTexts({name: len(one) for name, one in ids.items()}, read_out)
