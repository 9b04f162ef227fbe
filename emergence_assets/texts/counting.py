"""Count the texts and rows of a study before anything is made.

Counts are exact with a token file or with the tokenizer of the embedded family. Otherwise the number of rows at a fixed
read-out ignores texts that are too long, and other rows are estimated from characters.
"""

from pathlib import Path

import numpy as np

from emergence_assets.plan.text_counts import TextCounts
from emergence_assets.study.corpus import WordNetCorpus
from emergence_assets.study.study import Study
from emergence_assets.texts.corpus.identity import corpus_identity
from emergence_assets.texts.probe_set import ProbeSet, wordnet_training_texts
from emergence_assets.texts.study_corpus import corpus_recipe
from emergence_assets.texts.study_texts import probe_recipe, study_probe_set
from emergence_assets.texts.tokenising import tokenise
from emergence_assets.texts.tokens import Tokens, read_corpus, read_tokens
from emergence_assets.texts.wordnet import corpus
from resources.files.storage import Storage

CHARACTERS_PER_TOKEN = 4.4
"""Measured on English glosses with the vocabularies of published families."""


def packed_rows(study: Study) -> int:
    """Return the training rows of a corpus of files: as many as whole contexts hold."""
    body = study.family.context - 1
    return int(study.activations.training_tokens or 0) // body * body


def text_counts(study: Study, storage: Storage) -> TextCounts:
    """Count the rows, probe texts and categories of the study's cells.

    Raises:
        EmergenceError: the probe set cannot be read.
    """
    probes = study_probe_set(study)
    known = token_file(study, storage)
    tokens = read_tokens(known) if known else _tokenised(study, probes)
    n_rows = tokens.n_rows if tokens else _estimated_rows(study)
    n_probes = tokens.n_probes if tokens else len(probes.texts)
    return TextCounts(n_rows, n_probes, _file_bytes(study, probes, tokens), _category_sizes(probes), tokens is not None)


def token_file(study: Study, storage: Storage) -> Path | None:
    """Return the newest token file that fits the settings of the study; None without one.

    Raises:
        EmergenceError: a token file is damaged.
    """
    folder = storage.tokens_folder
    settings, is_corpus = study.activations, not isinstance(study.corpus, WordNetCorpus)
    recipe = {"corpus": corpus_recipe(study, storage), "probe_set": probe_recipe(study)} if is_corpus else {}
    if None in recipe.values():
        return None  # nothing is pinned yet
    for path in sorted(folder.glob("*.h5"), key=lambda path: path.stat().st_mtime, reverse=True):
        tokens = read_tokens(path)
        n_texts = len(tokens.training_ids)
        if is_corpus:
            fits = tokens.n_rows == packed_rows(study) and tokens.context == study.family.context
            if fits and read_corpus(path).get("identity") == corpus_identity(recipe):
                return path
            continue
        capped = settings.training_tokens is not None and tokens.n_rows <= settings.training_tokens
        if tokens.positions == settings.positions and (n_texts == settings.training_texts or capped):
            return path
    return None


def _tokenised(study: Study, probes: ProbeSet) -> Tokens | None:
    if not study.family.trained_here or not isinstance(study.corpus, WordNetCorpus):
        return None
    settings = study.activations
    training = wordnet_training_texts(_n_glosses(study), seed=0, template=probes.template)
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
    if not isinstance(study.corpus, WordNetCorpus):
        return packed_rows(study)
    if settings.positions == "read_out":
        n_rows = _n_glosses(study)
    else:
        characters = wordnet_training_texts(_n_glosses(study), seed=0)["text"].str.len_chars().to_numpy()
        n_rows = int(np.minimum(characters / CHARACTERS_PER_TOKEN, study.family.context - 1).sum())
    return min(n_rows, settings.training_tokens or n_rows)


def _file_bytes(study: Study, probes: ProbeSet, tokens: Tokens | None) -> int:
    """Predict the size of a token file: ids, padded names, 12 bytes per row (`docs/activation-format.md`)."""
    name_bytes = 24
    if tokens:
        n_ids = sum(map(len, (*tokens.training_ids, *tokens.probe_ids)))
        n_training, n_rows = len(tokens.training_ids), tokens.n_rows
        named = (tokens.training_text_id, tokens.probe_text_id)
        names = sum(len(group) * max(len(name.encode()) for name in group) for group in named)
    elif not isinstance(study.corpus, WordNetCorpus):
        n_rows, context = packed_rows(study), study.family.context
        n_training = n_rows // (context - 1)
        n_ids = n_training * context + int(int(probes.texts["text"].str.len_chars().sum()) / CHARACTERS_PER_TOKEN)
        names = name_bytes * (n_training + len(probes.texts))
    else:
        n_training = _n_glosses(study)
        training = wordnet_training_texts(n_training, seed=0)
        characters = sum(int(texts["text"].str.len_chars().sum()) for texts in (training, probes.texts))
        n_ids, n_rows = int(characters / CHARACTERS_PER_TOKEN), _estimated_rows(study)
        names = name_bytes * (n_training + len(probes.texts))
    return 4 * n_ids + names + 12 * n_rows + 16 * n_training + 16 * len(probes.texts) + 8192


def _n_glosses(study: Study) -> int:
    return int(study.activations.training_texts or 0)


def _category_sizes(probes: ProbeSet) -> tuple[int, ...]:
    counted = (probes.texts[level].drop_nulls().value_counts()["count"].to_list() for level in probes.levels)
    return tuple(n for sizes in counted for n in sizes)
