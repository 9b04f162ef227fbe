"""Probe sets: the labelled texts that every checkpoint is shown, and the unlabelled ones that SAEs learn from.

Belongs here: which texts, which labels, and which half a text is on. Does not belong here: token ids (`tokens.py`),
where the embedded texts come from (`wordnet/corpus.py`), statistics on labels (`features/`).

A latent is chosen on the `select` half and scored on the `score` half. The half is drawn by the hash of the text's
identifier, so it does not change when other texts are added; texts that read the same share a half, or a latent could
be scored on the very text it was chosen on.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from emergence_assets.errors import EmergenceError
from emergence_assets.wordnet import corpus

_RESERVED = ("text_id", "text", "split")


@dataclass(frozen=True)
class ProbeSet:
    """Labelled texts, one row each, sorted by text_id."""

    name: str
    """What the set is called in tables, as in `wordnet`."""
    texts: pl.DataFrame
    """Columns text_id, text, split ("select" or "score"), and one of category names per level; null is no label."""
    levels: tuple[str, ...]
    """Names of the label columns, the primary one first."""


def wordnet_probes(texts_per_category: int, seed: int, min_texts_per_category: int = 40) -> ProbeSet:
    """Held-out synsets that have a subject, with the levels subject, area and domain.

    Area is WordNet's lexicographer file, as in noun.animal. The texts are a sample per subject; an area or domain holds
    what its subjects bring.

    Args:
        texts_per_category: at most as many texts per subject.
        seed: of the sample.
        min_texts_per_category: a subject with fewer goes with its texts; of other levels only the label goes.

    Raises:
        EmergenceError: fewer than two subjects are left.
    """
    synsets = corpus.heldout_synsets().filter(pl.col("subject").is_not_null())
    synsets = synsets.filter(pl.len().over("subject") >= min_texts_per_category)
    synsets = synsets.with_columns(_draws(synsets["synset_id"], seed))
    synsets = synsets.filter(pl.col("draw").rank("ordinal").over("subject") <= texts_per_category)
    texts = _texts(synsets).with_columns(subject=synsets["subject"], area=synsets["lexname"], domain=synsets["domain"])
    return _probe_set("wordnet", texts, ("subject", "area", "domain"), min_texts_per_category)


def wordnet_training_texts(n_texts: int, seed: int) -> pl.DataFrame:
    """A sample of the nouns that the embedded models were trained on, in the form of the probe texts.

    Returns:
        Columns text_id and text, in file order. Unlabelled: SAEs learn from them.

    Raises:
        EmergenceError: there are not as many.
    """
    nouns = corpus.training_synsets().filter(pl.col("synset_id").str.starts_with("n"))
    if n_texts > len(nouns):
        what = f"{n_texts} training texts are wanted, the embedded corpus has {len(nouns)} nouns"
        raise EmergenceError(what, remedy="lower the number of training texts in the study")
    return _texts(nouns.filter(_draws(nouns["synset_id"], seed).rank("ordinal") <= n_texts))


def table_probes(
    path: Path,
    levels: Sequence[str],
    *,
    text_column: str = "text",
    suffix: str = "",
    min_texts_per_category: int = 40,
    coarser: Mapping[str, Mapping[str, str]] | None = None,
) -> ProbeSet:
    r"""A user's parquet file as a probe set, named after the file.

    Args:
        path: table with the columns text_id, the text and the levels. A text_id occurs once; labels may be null.
        levels: label columns, the primary one first.
        text_column: name of the column with the texts.
        suffix: appended to every text, as in `\nAnswer:`, so that the last token is the same for all.
        min_texts_per_category: labels with fewer texts are removed, and texts without any label left.
        coarser: further levels, each from the category of the first level to its own; see `category_maps.py`.

    Raises:
        EmergenceError: the file is no such table, or fewer than two categories of the first level are left.
    """
    coarser = coarser or {}
    all_levels = (*levels, *coarser)
    if not levels or len(set(all_levels)) != len(all_levels) or set(all_levels) & {*_RESERVED, text_column}:
        what = f"levels must be different from each other and from {', '.join(_RESERVED)}; got {all_levels}"
        raise EmergenceError(what, where=path, remedy="rename the columns")
    table = _read_table(path, ["text_id", text_column, *levels])
    texts = table.select("text_id", pl.col(text_column).alias("text") + suffix, *levels)
    for level, category_of in coarser.items():
        unmapped = set(texts[levels[0]].drop_nulls()) - category_of.keys()
        if unmapped:
            what = f"{level} has no entry for the {levels[0]} {sorted(unmapped)[0]!r}"
            raise EmergenceError(what, where=path, remedy="correct the label, or do without the category map")
        texts = texts.with_columns(pl.col(levels[0]).replace_strict(category_of, return_dtype=pl.String).alias(level))
    return _probe_set(path.stem, texts, all_levels, min_texts_per_category)


def _read_table(path: Path, columns: list[str]) -> pl.DataFrame:
    """The columns of a user's file as strings, after checking identifiers and texts."""
    remedy = "write a parquet file with the columns " + ", ".join(columns)
    try:
        table = pl.read_parquet(path, glob=False)  # brackets in a name are no pattern
    except (OSError, pl.exceptions.PolarsError) as error:
        raise EmergenceError(f"cannot read the probe table: {error}", where=path, remedy=remedy) from error
    if lacking := [column for column in columns if column not in table.columns]:
        what = f"the probe table has no column {', '.join(lacking)}; it has {', '.join(table.columns)}"
        raise EmergenceError(what, where=path, remedy=remedy)
    for column in columns:
        dtype = table.schema[column]
        if not (dtype == pl.String or dtype.is_integer() or isinstance(dtype, pl.Categorical | pl.Enum)):
            what = f"column {column} of the probe table holds {dtype}, not text"
            raise EmergenceError(what, where=path, remedy=remedy)
    table = table.select(pl.col(columns).cast(pl.String))
    text_id, text = table["text_id"], table[columns[1]]
    if text_id.null_count() or text_id.n_unique() != len(text_id) or text_id.str.contains("\0", literal=True).any():
        what = "text_id of the probe table must be there for every row, different for each and without NUL"
        raise EmergenceError(what, where=path, remedy="number the texts")
    if text.null_count() or (text.str.strip_chars() == "").any():
        raise EmergenceError("the probe table has empty texts", where=path, remedy="remove these rows")
    return table


def _texts(synsets: pl.DataFrame) -> pl.DataFrame:
    texts = map(corpus.synset_text, synsets["lemmas"].to_list(), synsets["definition"])
    return pl.DataFrame({"text_id": synsets["synset_id"], "text": pl.Series(list(texts), dtype=pl.String)})


def _probe_set(name: str, texts: pl.DataFrame, levels: tuple[str, ...], min_texts_per_category: int) -> ProbeSet:
    texts = texts.sort("text_id").with_columns(_split(texts.sort("text_id")))
    enough = {
        level: (pl.len().over(level) >= min_texts_per_category)
        & (pl.col("split").n_unique().over(level) == 2)  # or there is nothing to choose on, or to score on
        for level in levels
    }
    texts = texts.with_columns(pl.when(enough[level]).then(pl.col(level)).alias(level) for level in levels)
    texts = texts.filter(pl.any_horizontal(pl.col(level).is_not_null() for level in levels))
    if texts[levels[0]].drop_nulls().n_unique() < 2:
        what = f"fewer than two categories of level {levels[0]} have {min_texts_per_category} texts"
        raise EmergenceError(what, where=name, remedy="give more texts, or lower min_texts_per_category")
    return ProbeSet(name, texts.select(*_RESERVED, *levels), levels)


def _split(texts: pl.DataFrame) -> pl.Series:
    """Half of every text: a bit of the hash of the first text_id among those that read the same."""
    folded = pl.col("text").str.to_lowercase().str.strip_chars()
    folded = folded.str.replace_all(r"\s+", " ")
    first_id = texts.select(pl.col("text_id").min().over(folded)).to_series()
    # Salted: the corpus splits documents by the bare hash of their first synset, which in a held-out one is small.
    halves = ["select" if hashlib.sha256(f"half {i}".encode()).digest()[0] < 128 else "score" for i in first_id]
    return pl.Series("split", halves, dtype=pl.String)


def _draws(text_ids: pl.Series, seed: int) -> pl.Series:
    """A number for every text, random in the seed and independent of the other texts; the least are the sample."""
    digests = (hashlib.sha256(f"{seed} {text_id}".encode()).digest() for text_id in text_ids)
    return pl.Series("draw", [int.from_bytes(digest[:8], "big") for digest in digests], dtype=pl.UInt64)
