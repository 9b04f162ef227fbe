"""Identity of what is read of a training corpus."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from resources.files.provenance import canonical_json


def corpus_identity(recipe: Mapping[str, Any]) -> str:
    """Hash all but the tokenizer that decides which documents are read: the corpus, and the probe texts left out of it.

    Args:
        recipe: values by name, among them `corpus` (`study_corpus.corpus_recipe`) and `probe_set`
            (`study_texts.probe_recipe`).

    Returns:
        16 hexadecimal digits.
    """
    return sha256(canonical_json([recipe["corpus"], recipe["probe_set"]]).encode()).hexdigest()[:16]
