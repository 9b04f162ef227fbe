"""Training corpus in a study file: the texts on whose residual stream SAEs are trained."""

from typing import Annotated, Literal

from pydantic import Field

from emergence_assets.study.strict import StrictModel


class WordNetCorpus(StrictModel):
    """Glosses of the training split, in the form of the probe texts; each is a text of its own."""

    source: Literal["wordnet"]


class FilesCorpus(StrictModel):
    """Documents in the user's files, packed into contexts of `family.context` tokens."""

    source: Literal["files"]
    paths: str = Field(min_length=1, max_length=4096)
    """Glob of files that end in .parquet, .jsonl, .ndjson, .csv, .tsv or .txt, the last five also with .gz or .zst
    behind; relative to the working directory. In .txt, empty lines separate documents."""
    text_column: str = Field(default="text", min_length=1, max_length=200)
    """Column of the documents; .txt has none."""


class HubCorpus(StrictModel):
    """Documents of a dataset repository on the hub, packed like those of files; fetched as far as they are read."""

    source: Literal["hub"]
    repository: str = Field(pattern=r"^[\w.-]+/[\w.-]+$", max_length=200)
    """Dataset repository."""
    files: str = Field(pattern=r"^([\w-][\w.-]*/)*[\w.*?\[\]-]+$", max_length=400)
    """Shards in the order of their names: a folder and a glob of file names, such as `train/*.jsonl.zst`; for endings
    see `FilesCorpus.paths`."""
    revision: str = Field(default="main", pattern=r"^[\w.-]+$", max_length=200)
    """Branch, tag or commit. The first listing pins its commit and the hash of every shard."""
    text_column: str = Field(default="text", min_length=1, max_length=200)
    """Column of the documents; .txt has none."""


Corpus = Annotated[WordNetCorpus | FilesCorpus | HubCorpus, Field(discriminator="source")]
