"""Probe sets: the labelled texts that every checkpoint is shown, and the unlabelled ones that SAEs learn from.

A latent is chosen on the `select` half and scored on the `score` half. The half is drawn by the hash of the text's
unit, which is the first text among its copies (`near_duplicates.py`): it does not change when texts are added that are
no copies, and no latent is scored on a copy of a text it was chosen on.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from emergence_assets.study.probe_set import RESERVED_COLUMNS
from emergence_assets.texts.near_duplicates import clusters, text_hash
from emergence_assets.texts.probe_file import PLACE, read_probe_file
from emergence_assets.texts.wordnet import corpus
from resources.errors import EmergenceError

WHOLE = "{text}"
"""Template that adds nothing."""
LEFT_OUT_SCHEMA = {"category_level": pl.String, "category": pl.String, "n_texts": pl.Int32, "reason": pl.String}


@dataclass(frozen=True)
class ProbeSet:
    """Labelled texts, one row each, sorted by text_id."""

    name: str
    """What the set is called in tables, as in `wordnet`."""
    texts: pl.DataFrame
    """Columns text_id, text (the whole prompt), split ("select" or "score"), unit (text_id of the first of the texts
    that are copies of each other), and one of category names per level; null is no label."""
    levels: tuple[str, ...]
    """Names of the label columns, the primary one first."""
    left_out: pl.DataFrame
    """Categories that lost their label, with the reason; see `LEFT_OUT_SCHEMA`."""
    template: str = WHOLE
    """Prompt around every text."""

    @property
    def stems(self) -> list[str]:
        """The texts without the template."""
        before, after = map(len, self.template.split("{text}"))
        return [text[before : len(text) - after] for text in self.texts["text"]]


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


def wordnet_training_texts(n_texts: int, seed: int, template: str = WHOLE) -> pl.DataFrame:
    """A sample of the nouns that the embedded models were trained on, in the form of the probe texts.

    Args:
        n_texts: of the sample.
        seed: of the sample.
        template: of the probe set. SAEs are trained on what they are asked about: residual streams at one token, at
            the end of one prompt. Glosses end in a newline of their own, which gives way to another template.

    Returns:
        Columns text_id and text, in file order. Unlabelled: SAEs learn from them.

    Raises:
        EmergenceError: there are not as many.
    """
    nouns = corpus.training_synsets().filter(pl.col("synset_id").str.starts_with("n"))
    if n_texts > len(nouns):
        what = f"{n_texts} training texts are wanted, the embedded corpus has {len(nouns)} nouns"
        raise EmergenceError(what, remedy="lower the number of training texts in the study")
    texts = _texts(nouns.filter(_draws(nouns["synset_id"], seed).rank("ordinal") <= n_texts))
    if template == WHOLE:
        return texts
    return texts.with_columns(_prompts(pl.col("text").str.strip_chars_end("\n"), template))


def table_probes(
    path: Path,
    levels: Sequence[str],
    *,
    text_column: str = "text",
    text_id_column: str | None = None,
    template: str = WHOLE,
    min_texts_per_category: int = 40,
    coarser: Mapping[str, Mapping[str, str]] | None = None,
) -> ProbeSet:
    r"""A user's file as a probe set, named after the file.

    Args:
        path: CSV, JSON lines or parquet; see `probe_file.py`. Labels may be missing.
        levels: label columns, the primary one first.
        text_column: name of the column with the texts.
        text_id_column: column that names every text, each once. By default a text is named by the hash of what it
            says, and what says and is labelled the same counts once.
        template: prompt around every text, as in `{text}\nAnswer:`, so that the last token is the same for all.
        min_texts_per_category: labels with fewer texts are removed, and texts without any label left.
        coarser: further levels, each from the category of the first level to its own; see `category_maps.py`.

    Raises:
        EmergenceError: the file is no such table, or fewer than two categories of the first level are left.
    """
    coarser = coarser or {}
    all_levels = (*levels, *coarser)
    taken = {*RESERVED_COLUMNS, text_column, text_id_column}
    if not levels or len(set(all_levels)) != len(all_levels) or set(all_levels) & taken:
        what = f"levels must be different from each other and from {', '.join(RESERVED_COLUMNS)}; got {all_levels}"
        raise EmergenceError(what, where=path, remedy="rename the columns")
    named = [text_id_column] if text_id_column else []
    table = read_probe_file(path, [*named, text_column, *levels], optional=levels)
    table = table.select(
        *([pl.col(text_id_column).alias("text_id")] if text_id_column else []),
        pl.col(text_column).alias("text"),
        *(pl.when(pl.col(level).str.strip_chars() != "").then(pl.col(level)).alias(level) for level in levels),
        PLACE,
    )
    for level, category_of in coarser.items():
        unmapped = table.filter(pl.col(levels[0]).is_not_null() & ~pl.col(levels[0]).is_in(list(category_of)))
        if not unmapped.is_empty():
            what = f"{level} has no entry for the {levels[0]} {unmapped[levels[0]][0]!r} in {unmapped[PLACE][0]}"
            raise EmergenceError(what, where=path, remedy="correct the label, or do without the category map")
        table = table.with_columns(pl.col(levels[0]).replace_strict(category_of, return_dtype=pl.String).alias(level))
    table = _refuse_repeated_names(path, table, text_id_column) if text_id_column else _named_by_hash(table, levels)
    return _probe_set(path.stem, table.drop(PLACE), all_levels, min_texts_per_category, template)


def _refuse_repeated_names(path: Path, table: pl.DataFrame, column: str) -> pl.DataFrame:
    repeated = table.filter(pl.col("text_id").is_duplicated())
    if not repeated.is_empty():
        what = f"{column} {repeated['text_id'][0]!r} stands in {repeated[PLACE][0]} and again later"
        raise EmergenceError(what, where=path, remedy="name every text once, or leave text_id_column out of the study")
    return table


def _named_by_hash(table: pl.DataFrame, levels: Sequence[str]) -> pl.DataFrame:
    """Texts with the hash of what they say as name; the same text with other labels has a number behind it."""
    hashes = pl.Series("hash", [text_hash(text) for text in table["text"]], dtype=pl.String)
    # In the order of labels, so that names do not hang on the order of the file.
    table = table.with_columns(hashes).unique(["text", *levels], keep="first", maintain_order=True)
    number = pl.struct(levels).rank("ordinal").over("hash")
    name = pl.when(number == 1).then(pl.col("hash")).otherwise(pl.format("{}-{}", "hash", number))
    return table.sort("hash", *levels).with_columns(name.alias("text_id")).drop("hash")


def _texts(synsets: pl.DataFrame) -> pl.DataFrame:
    texts = map(corpus.synset_text, synsets["lemmas"].to_list(), synsets["definition"])
    return pl.DataFrame({"text_id": synsets["synset_id"], "text": pl.Series(list(texts), dtype=pl.String)})


def _probe_set(
    name: str, texts: pl.DataFrame, levels: tuple[str, ...], min_texts_per_category: int, template: str = WHOLE
) -> ProbeSet:
    texts = texts.sort("text_id")
    texts = texts.with_columns(_units(texts))
    texts = texts.with_columns(_split(texts))
    left_out = [_left_out(texts, level, min_texts_per_category) for level in levels]
    texts = texts.with_columns(
        pl.when(~pl.col(level).is_in(gone["category"].to_list())).then(pl.col(level)).alias(level)
        for level, gone in zip(levels, left_out, strict=True)
    )
    texts = texts.filter(pl.any_horizontal(pl.col(level).is_not_null() for level in levels))
    if texts[levels[0]].drop_nulls().n_unique() < 2:
        what = f"fewer than two categories of level {levels[0]} have {min_texts_per_category} texts"
        raise EmergenceError(what, where=name, remedy="give more texts, or lower min_texts_per_category")
    texts = texts.select("text_id", _prompts(pl.col("text"), template), "split", "unit", *levels)
    return ProbeSet(name, texts, levels, pl.concat(left_out), template)


def _prompts(text: pl.Expr, template: str) -> pl.Expr:
    before, after = template.split("{text}")
    return (pl.lit(before) + text + pl.lit(after)).alias("text")


def _left_out(texts: pl.DataFrame, level: str, min_texts_per_category: int) -> pl.DataFrame:
    """Categories of a level that cannot be measured."""
    counted = texts.filter(pl.col(level).is_not_null()).group_by(pl.col(level).alias("category"))
    counted = counted.agg(pl.len().alias("n_texts"), pl.col("split").n_unique().alias("n_halves")).sort("category")
    few = pl.format("{} texts; {} are needed", "n_texts", pl.lit(min_texts_per_category))
    reason = (
        pl.when(pl.col("n_texts") < min_texts_per_category)
        .then(few)
        .when(pl.col("n_halves") < 2)  # there is nothing to choose on, or to score on
        .then(pl.lit("all its texts are copies of a few, and on one side of the split"))
    )
    counted = counted.with_columns(pl.lit(level).alias("category_level"), reason.alias("reason"))
    return counted.filter(pl.col("reason").is_not_null()).select(pl.col(c).cast(t) for c, t in LEFT_OUT_SCHEMA.items())


def _units(texts: pl.DataFrame) -> pl.Series:
    """For every text the first text_id among its copies."""
    number = pl.Series("number", clusters(texts["text"].to_list()))
    return texts.select(pl.col("text_id").min().over(number)).to_series().alias("unit")


def _split(texts: pl.DataFrame) -> pl.Series:
    """Half of every text: a bit of the hash of its unit."""
    # Salted: the corpus splits documents by the bare hash of their first synset, which in a held-out one is small.
    halves = [
        "select" if hashlib.sha256(f"half {unit}".encode()).digest()[0] < 128 else "score" for unit in texts["unit"]
    ]
    return pl.Series("split", halves, dtype=pl.String)


def _draws(text_ids: pl.Series, seed: int) -> pl.Series:
    """A number for every text, random in the seed and independent of the other texts; the least are the sample."""
    digests = (hashlib.sha256(f"{seed} {text_id}".encode()).digest() for text_id in text_ids)
    return pl.Series("draw", [int.from_bytes(digest[:8], "big") for digest in digests], dtype=pl.UInt64)
