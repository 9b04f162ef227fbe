"""Count the texts and rows of a study before anything is made.

Counts are exact with a token file or with the tokenizer of the embedded family. Otherwise the number of rows at a fixed
read-out ignores texts that are too long, and other rows are estimated from characters.
"""

import numpy as np

from emergence_assets.plan.text_counts import TextCounts
from emergence_assets.study.study import Study
from emergence_assets.texts.probe_set import ProbeSet, wordnet_training_texts
from emergence_assets.texts.study_texts import study_probe_set
from emergence_assets.texts.tokenising import tokenise
from emergence_assets.texts.tokens import Tokens, read_tokens
from emergence_assets.texts.wordnet import corpus
from resources.files.storage import Storage

CHARACTERS_PER_TOKEN = 4.4
"""Measured on English glosses with the vocabularies of published families."""


def text_counts(study: Study, storage: Storage) -> TextCounts:
    """Count the rows, probe texts and categories of the study's cells.

    Raises:
        EmergenceError: the probe set cannot be read.
    """
    probes = study_probe_set(study)
    tokens = _token_files(study, storage) or _tokenised(study, probes)
    n_rows = tokens.n_rows if tokens else _estimated_rows(study)
    n_probes = tokens.n_probes if tokens else len(probes.texts)
    return TextCounts(n_rows, n_probes, _file_bytes(study, probes, tokens), _category_sizes(probes), tokens is not None)


def _token_files(study: Study, storage: Storage) -> Tokens | None:
    """Read the newest token file that fits the settings of the study."""
    folder = storage.tokens_folder
    settings = study.activations
    for path in sorted(folder.glob("*.h5"), key=lambda path: path.stat().st_mtime, reverse=True):
        tokens = read_tokens(path)
        n_texts = len(tokens.training_ids)
        capped = settings.training_tokens is not None and tokens.n_rows <= settings.training_tokens
        if tokens.positions == settings.positions and (n_texts == settings.training_texts or capped):
            return tokens
    return None


def _tokenised(study: Study, probes: ProbeSet) -> Tokens | None:
    if not study.family.trained_here:
        return None
    settings = study.activations
    training = wordnet_training_texts(settings.training_texts, seed=0, template=probes.template)
    return tokenise(
        corpus.TOKENIZER_PATH,
        training,
        probes.texts,
        study.family.context,
        settings.positions,
        max_rows=settings.training_tokens,
    )


def _estimated_rows(study: Study) -> int:
    settings = study.activations
    if settings.positions == "read_out":
        n_rows = settings.training_texts
    else:
        characters = wordnet_training_texts(settings.training_texts, seed=0)["text"].str.len_chars().to_numpy()
        n_rows = int(np.minimum(characters / CHARACTERS_PER_TOKEN, study.family.context - 1).sum())
    return min(n_rows, settings.training_tokens or n_rows)


def _file_bytes(study: Study, probes: ProbeSet, tokens: Tokens | None) -> int:
    """Predict the size of a token file: ids, padded names, 12 bytes per row (`docs/activation-format.md`)."""
    n_training, name_bytes = study.activations.training_texts, 24
    if tokens:
        n_ids = sum(map(len, (*tokens.training_ids, *tokens.probe_ids)))
        n_training, n_rows = len(tokens.training_ids), tokens.n_rows
        named = (tokens.training_text_id, tokens.probe_text_id)
        names = sum(len(group) * max(len(name.encode()) for name in group) for group in named)
    else:
        training = wordnet_training_texts(n_training, seed=0)
        characters = sum(int(texts["text"].str.len_chars().sum()) for texts in (training, probes.texts))
        n_ids, n_rows = int(characters / CHARACTERS_PER_TOKEN), _estimated_rows(study)
        names = name_bytes * (n_training + len(probes.texts))
    return 4 * n_ids + names + 12 * n_rows + 16 * n_training + 16 * len(probes.texts) + 8192


def _category_sizes(probes: ProbeSet) -> tuple[int, ...]:
    counted = (probes.texts[level].drop_nulls().value_counts()["count"].to_list() for level in probes.levels)
    return tuple(n for sizes in counted for n in sizes)
