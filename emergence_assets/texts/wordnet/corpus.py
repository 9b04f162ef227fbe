"""The embedded corpus: WordNet 3.0 as training documents, probe synsets and token ids.

A document is eight neighbouring synsets of one lexicographer file, one line each. WordNet's files follow the hierarchy,
so that neighbours are related and a document has a topic. The split into training and held-out is by document and not
by synset, because neighbours define each other.
"""

import hashlib
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from resources.errors import EmergenceError
from resources.files.versions import file_sha256

SYNSETS_PATH = Path(__file__).with_name("synsets.parquet")
TOKENIZER_PATH = Path(__file__).with_name("tokenizer.json")
TOKEN_IDS_PATH = Path(__file__).with_name("token_ids.npz")
SCHEMA = pl.Schema(
    {
        "synset_id": pl.String,
        "lexname": pl.String,
        "lemmas": pl.List(pl.String),
        "definition": pl.String,
        "example": pl.String,
        "subject": pl.String,
        "domain": pl.String,
    }
)
"""Columns of the shipped table. `synset_id` is part of speech and offset in WordNet's data file, as in n02084071."""
END_OF_TEXT = "<|endoftext|>"  # id 0; begins every document
PADDING = "<|padding|>"  # id 1
Split = Literal["training", "heldout"]
SYNSETS_PER_DOCUMENT = 8
HELDOUT_FRACTION = 0.5


def read_synsets() -> pl.DataFrame:
    """Read the shipped table, one row per synset in WordNet's file order."""
    return pl.read_parquet(SYNSETS_PATH, schema=SCHEMA)


def synset_text(lemmas: list[str], definition: str) -> str:
    r"""Format a synset as a probe text: `lemma, lemma: definition.\n`, with at most two lemmas.

    It ends like every line of the training documents, so that the line break is the common last token and the read-out.
    """
    return f"{', '.join(lemmas[:2])}: {definition}.\n"


def documents(synsets: pl.DataFrame, split: Split) -> list[tuple[str, list[str]]]:
    """Return text and synset ids of every document on one side of the split, in file order.

    Args:
        synsets: table with the columns of `SCHEMA`.
        split: side of the split; it depends on the first synset id of a document only.
    """
    chosen = []
    for _, of_lexname in synsets.group_by("lexname", maintain_order=True):
        for document in of_lexname.iter_slices(SYNSETS_PER_DOCUMENT):
            synset_ids = document["synset_id"].to_list()
            if _is_heldout(synset_ids[0]) == (split == "heldout"):
                lines = map(_line, document["lemmas"].to_list(), document["definition"], document["example"])
                chosen.append(("".join(lines), synset_ids))
    return chosen


def synsets_of(split: Split) -> pl.DataFrame:
    """Return the synsets of the documents on one side of the split, in file order, columns as in `SCHEMA`."""
    synsets = read_synsets()
    chosen = [synset_id for _, synset_ids in documents(synsets, split) for synset_id in synset_ids]
    return synsets.filter(pl.col("synset_id").is_in(chosen))


def document_of_synset(split: Split) -> dict[str, str]:
    """Map every synset on one side of the split to its document, named by the document's first synset."""
    return {name: synset_ids[0] for _, synset_ids in documents(read_synsets(), split) for name in synset_ids}


def corpus_sha256() -> str:
    """Hash of the shipped table's file."""
    return file_sha256(SYNSETS_PATH)


def tokenizer_sha256() -> str:
    """Hash of the shipped tokenizer's file."""
    return file_sha256(TOKENIZER_PATH)


@cache
def corpus_token_ids(split: Split) -> np.ndarray:
    """Return token ids of one side of the split as one read-only uint16 array, end-of-text before every document.

    Documents are in one fixed permutation: in file order all animals would come first and all verbs last. The ids are
    shipped, because the tokenizer needs five seconds for them in every process that trains a model.

    Raises:
        EmergenceError: the shipped ids are of another table or another tokenizer.
    """
    with np.load(TOKEN_IDS_PATH, allow_pickle=False) as shipped:
        if str(shipped["made_from"]) != f"{corpus_sha256()} {tokenizer_sha256()}":
            raise EmergenceError(
                "The shipped token ids are of another table or tokenizer.",
                where=TOKEN_IDS_PATH,
                remedy="install the package again; after a change of the corpus run scripts/build_wordnet.py",
            )
        token_ids = shipped[split]
    token_ids.flags.writeable = False  # one array serves all callers
    return token_ids


def _line(lemmas: list[str], definition: str, example: str | None) -> str:
    if example is None:
        return synset_text(lemmas, definition)
    return synset_text(lemmas, f'{definition}; "{example}"')


def _is_heldout(synset_id: str) -> bool:
    digest = hashlib.sha256(synset_id.encode()).digest()
    return int.from_bytes(digest[:8], "big") < HELDOUT_FRACTION * 2**64
