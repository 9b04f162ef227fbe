"""The training corpus of a study, and the recipe that determines it."""

from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Any

from emergence_assets.study.corpus import HubCorpus, WordNetCorpus
from emergence_assets.study.study import Study
from emergence_assets.texts.corpus.documents import documents
from emergence_assets.texts.corpus.files import CorpusFile, corpus_files
from emergence_assets.texts.corpus.shards import fetched_shards, pin_shards, pinned_shards
from resources.files.provenance import canonical_json
from resources.files.storage import Storage
from resources.progress import Report


def pin_corpus(study: Study) -> None:
    """Pin the shards of the study's corpus if they are on a hub and not pinned yet.

    Raises:
        EmergenceError: see `shards.pin_shards`.
    """
    if isinstance(study.corpus, HubCorpus):
        pin_shards(study.corpus.model_dump(), offline=study.family.is_offline)


def corpus_recipe(study: Study, storage: Storage) -> dict[str, Any] | None:
    """Return what decides the training texts: the source, and the content of its files, wherever they lie.

    None before the shards of a hub are pinned.

    Raises:
        EmergenceError: a file of the corpus cannot be read, or there is none.
    """
    from emergence_assets.texts.wordnet import corpus

    declared = study.corpus
    if isinstance(declared, WordNetCorpus):
        return {"source": declared.source, "sha256": corpus.corpus_sha256()}
    if isinstance(declared, HubCorpus):
        pinned = pinned_shards(declared.model_dump())
        if pinned is None:
            return None
        shards = [[file.name, file.sha256 or file.blob_id] for file in pinned.files]
        listed = sha256(canonical_json(shards).encode()).hexdigest()
        at = {"repository": pinned.repository, "commit_sha": pinned.commit_sha, "within": pinned.within}
        return {"source": declared.source, "text_column": declared.text_column, **at, "sha256": listed}
    files = [file.sha256 for file in corpus_files(declared.paths, storage)]
    return {"source": declared.source, "text_column": declared.text_column, "sha256": files}


def corpus_sentence(study: Study, storage: Storage) -> str:
    """Describe what SAEs are trained on, and, once it was read, how much of the corpus that is.

    Raises:
        EmergenceError: a file of the corpus or a token file cannot be read.
    """
    from emergence_assets.texts.counting import token_file
    from emergence_assets.texts.tokens import read_corpus

    declared, kept = study.corpus, study.activations
    if isinstance(declared, WordNetCorpus):
        which = "every token but the first" if kept.positions == "all" else "the last token"
        return f"{which} of {kept.training_texts} WordNet glosses"
    if isinstance(declared, HubCorpus):
        pinned = pinned_shards(declared.model_dump())
        at = f" at commit {pinned.commit_sha[:12]}" if pinned else ""
        n_files = len(pinned.files) if pinned else "unknown"
        named = f"{n_files} files on the hub ({declared.repository} {declared.files}{at})"
    else:
        named = f"{len(corpus_files(declared.paths, storage))} files ({declared.paths})"
    known = token_file(study, storage)
    counts = read_corpus(known) if known else {}
    read = (
        f": {counts['n_documents']} documents with {counts['n_tokens']} tokens, without {counts['n_overlapping']} that "
        "share 13 words in a row with a probe text"
        if counts
        else ""
    )
    return (
        f"{kept.training_tokens} tokens of {named}, packed into contexts of "
        f"{study.family.context} tokens, of which the first is left out{read}"
    )


def corpus_arguments(study: Study, storage: Storage) -> dict[str, Any]:
    """Return plain values from which a worker reads the documents; empty for the embedded glosses.

    Raises:
        EmergenceError: see `corpus_recipe`.
    """
    declared = study.corpus
    if isinstance(declared, WordNetCorpus):
        return {}
    if isinstance(declared, HubCorpus):
        return {"hub": declared.model_dump(), "offline": study.family.is_offline, "text_column": declared.text_column}
    return {"files": corpus_files(declared.paths, storage), "text_column": declared.text_column}


def corpus_documents(arguments: Mapping[str, Any], report: Report) -> Iterator[str]:
    """Yield the documents of `corpus_arguments`; shards on a hub are fetched as far as documents are taken.

    Raises:
        EmergenceError: a file is damaged, or a shard cannot be fetched.
    """
    if "hub" in arguments:
        files: Iterable[CorpusFile] = fetched_shards(arguments["hub"], report, offline=arguments["offline"])
    else:
        files = [CorpusFile(*file) for file in arguments["files"]]
    return documents(files, arguments["text_column"])
