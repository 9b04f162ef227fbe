"""Probe sets: labelled texts that every checkpoint reads, and unlabelled texts for the training of SAEs.

A latent is chosen on the `select` half and scored on the `score` half. Texts that are not independent form a unit:
copies (`near_duplicates.py`), and texts of one document, where documents are known. A hash of the unit assigns the
half, so that no latent is scored on a copy or a sibling of a text on which it was chosen; replicates draw units.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from emergence_assets.study.probe_set import RESERVED_COLUMNS
from emergence_assets.texts.labels import with_cleaned_labels
from emergence_assets.texts.near_duplicates import clusters, joined_groups, text_hash
from emergence_assets.texts.probe_file import PLACE, read_probe_file
from emergence_assets.texts.wordnet import corpus
from resources.errors import EmergenceError

WHOLE = "{text}"
"""Template that leaves the text unchanged."""
MAX_CATEGORIES = 32_767
"""Most categories of a level: the category of a text is stored in 16 bits (`features/statistics/labels.py`)."""
LEFT_OUT_SCHEMA = {"category_level": pl.String, "category": pl.String, "n_texts": pl.Int32, "reason": pl.String}


@dataclass(frozen=True)
class ProbeSet:
    """Labelled texts, one row each, sorted by text_id."""

    name: str
    """Name of the set in tables, such as `wordnet`."""
    texts: pl.DataFrame
    """Columns text_id, text (the whole prompt), split ("select" or "score"), unit (name shared by the copies of a text
    and the texts of its document), and one column of category names per level; null is no label."""
    levels: tuple[str, ...]
    """Names of the label columns, the primary one first."""
    left_out: pl.DataFrame
    """Removed categories with the reason, columns as in `LEFT_OUT_SCHEMA`."""
    template: str = WHOLE
    """Prompt around every text."""
    notes: tuple[str, ...] = ()
    """What was changed in the file, a line each."""

    @property
    def stems(self) -> list[str]:
        """The texts without the template."""
        before, after = map(len, self.template.split("{text}"))
        return [text[before : len(text) - after] for text in self.texts["text"]]


def wordnet_probes(texts_per_category: int, seed: int, min_texts_per_category: int = 40) -> ProbeSet:
    """Make a probe set of held-out synsets with a subject, with the levels subject, area and domain.

    The area is WordNet's lexicographer file, such as noun.animal. The texts are a sample per subject; an area or domain
    contains the texts of its subjects.

    Args:
        texts_per_category: maximum number of texts per subject.
        seed: seed of the sample.
        min_texts_per_category: a subject with fewer texts is removed with them; other levels only lose the label.

    Raises:
        EmergenceError: fewer than two subjects are left.
    """
    synsets = corpus.synsets_of("heldout").filter(pl.col("subject").is_not_null())
    synsets = synsets.filter(pl.len().over("subject") >= min_texts_per_category)
    synsets = synsets.with_columns(_draws(synsets["synset_id"], seed))
    synsets = synsets.filter(pl.col("draw").rank("ordinal").over("subject") <= texts_per_category)
    texts = _texts(synsets).with_columns(
        subject=synsets["subject"],
        area=synsets["lexname"],
        domain=synsets["domain"],
        # Neighbouring synsets define each other, and are documents of the corpus for that reason.
        document=synsets["synset_id"].replace_strict(corpus.document_of_synset("heldout"), return_dtype=pl.String),
    )
    return _probe_set("wordnet", texts, ("subject", "area", "domain"), min_texts_per_category)


def wordnet_training_texts(n_texts: int, seed: int, template: str = WHOLE) -> pl.DataFrame:
    """Sample the nouns on which the embedded models were trained, in the form of the probe texts.

    Args:
        n_texts: size of the sample.
        seed: seed of the sample.
        template: template of the probe set, so that SAEs are trained and measured at the end of the same prompt. It
            replaces the newline at the end of a gloss.

    Returns:
        Columns text_id and text, in file order, without labels.

    Raises:
        EmergenceError: the corpus has fewer nouns.
    """
    nouns = corpus.synsets_of("training").filter(pl.col("synset_id").str.starts_with("n"))
    if n_texts > len(nouns):
        what = f"the study needs {n_texts} training texts, the embedded corpus has {len(nouns)} nouns"
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
    document_column: str | None = None,
    template: str = WHOLE,
    min_texts_per_category: int = 40,
    coarser: Mapping[str, Mapping[str, str]] | None = None,
) -> ProbeSet:
    r"""Make a probe set, named after the file, from a user's file.

    Args:
        path: CSV, JSON lines or parquet; see `probe_file.py`. Labels may be missing.
        levels: label columns, the primary one first.
        text_column: name of the column with the texts.
        text_id_column: column of unique ids. By default the id of a text is its hash, and equal texts with equal labels
            count once.
        document_column: column that names the document, or another source, of a text; texts of one document share a
            unit. By default only copies do. Texts without a name are units of their own.
        template: prompt around every text, as in `{text}\nAnswer:`, so that all prompts end in the same token.
        min_texts_per_category: labels with fewer texts are removed, and so are texts without any label.
        coarser: further levels, each a mapping from categories of the first level; see `category_maps.py`.

    Raises:
        EmergenceError: the file is invalid, fewer than two categories of the first level remain, or a level has more
            than `MAX_CATEGORIES`.
    """
    coarser = coarser or {}
    all_levels = (*levels, *coarser)
    taken = {*RESERVED_COLUMNS, text_column, text_id_column, document_column}
    if not levels or len(set(all_levels)) != len(all_levels) or set(all_levels) & taken:
        what = f"levels must differ from each other and from {', '.join(RESERVED_COLUMNS)}; they are {all_levels}"
        raise EmergenceError(what, where=path, remedy="rename the columns")
    named = [text_id_column] if text_id_column else []
    documents = [document_column] if document_column else []
    table = read_probe_file(path, [*named, text_column, *documents, *levels], optional=[*documents, *levels])
    table = table.select(
        *([pl.col(text_id_column).alias("text_id")] if text_id_column else []),
        pl.col(text_column).alias("text"),
        *(
            pl.when(pl.col(column).str.strip_chars() != "").then(pl.col(column)).alias(name)
            for column, name in [*((one, "document") for one in documents), *((level, level) for level in levels)]
        ),
        PLACE,
    )
    table, notes = with_cleaned_labels(table, levels)
    for level, category_of in coarser.items():
        unmapped = table.filter(pl.col(levels[0]).is_not_null() & ~pl.col(levels[0]).is_in(list(category_of)))
        if not unmapped.is_empty():
            what = f"{level} has no entry for the {levels[0]} {unmapped[levels[0]][0]!r} in {unmapped[PLACE][0]}"
            raise EmergenceError(what, where=path, remedy="correct the label, or remove category_map")
        table = table.with_columns(pl.col(levels[0]).replace_strict(category_of, return_dtype=pl.String).alias(level))
    table = _refuse_repeated_names(path, table, text_id_column) if text_id_column else _named_by_hash(table, levels)
    probes = _probe_set(path.stem, table.drop(PLACE), all_levels, min_texts_per_category, template)
    return replace(probes, notes=notes)


def _refuse_repeated_names(path: Path, table: pl.DataFrame, column: str) -> pl.DataFrame:
    repeated = table.filter(pl.col("text_id").is_duplicated())
    if not repeated.is_empty():
        what = f"{column} {repeated['text_id'][0]!r} of {repeated[PLACE][0]} is repeated"
        raise EmergenceError(what, where=path, remedy="make the ids unique, or remove text_id_column from the study")
    return table


def _named_by_hash(table: pl.DataFrame, levels: Sequence[str]) -> pl.DataFrame:
    """Add text_id, the hash of the text; a number follows it where equal texts have different labels."""
    hashes = pl.Series("hash", [text_hash(text) for text in table["text"]], dtype=pl.String)
    # In the order of labels, so that ids are independent of the order of the file.
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
    for level in levels:
        if (n_categories := texts[level].drop_nulls().n_unique()) > MAX_CATEGORIES:
            what = f"level {level} has {n_categories} categories, more than {MAX_CATEGORIES}"
            raise EmergenceError(
                what, where=name, remedy="raise min_texts_per_category, or join categories in the file"
            )
    texts = texts.select("text_id", _prompts(pl.col("text"), template), "split", "unit", *levels)
    return ProbeSet(name, texts, levels, pl.concat(left_out), template)


def _prompts(text: pl.Expr, template: str) -> pl.Expr:
    before, after = template.split("{text}")
    return (pl.lit(before) + text + pl.lit(after)).alias("text")


def _left_out(texts: pl.DataFrame, level: str, min_texts_per_category: int) -> pl.DataFrame:
    """List the categories of a level with too few texts, or with texts in one half only."""
    counted = texts.filter(pl.col(level).is_not_null()).group_by(pl.col(level).alias("category"), maintain_order=True)
    counted = counted.agg(pl.len().alias("n_texts"), pl.col("split").n_unique().alias("n_halves")).sort("category")
    few = pl.format("{} texts; {} are needed", "n_texts", pl.lit(min_texts_per_category))
    reason = (
        pl.when(pl.col("n_texts") < min_texts_per_category)
        .then(few)
        .when(pl.col("n_halves") < 2)  # no texts to choose on, or to score on
        .then(pl.lit("all its texts are copies of a few, on one side of the split"))
    )
    counted = counted.with_columns(pl.lit(level).alias("category_level"), reason.alias("reason"))
    return counted.filter(pl.col("reason").is_not_null()).select(pl.col(c).cast(t) for c, t in LEFT_OUT_SCHEMA.items())


def _units(texts: pl.DataFrame) -> pl.Series:
    """Return the smallest name among the documents of the copies of every text; a text without a document has its id.

    Named by documents, a unit keeps its half when a larger sample adds texts to it.
    """
    names = pl.col("text_id")
    if "document" in texts.columns:
        names = pl.coalesce(pl.format("document {}", "document"), names)
    name = texts.select(names.alias("unit")).to_series()
    number = joined_groups([clusters(texts["text"].to_list()), name.rank("dense").to_numpy()])
    return pl.DataFrame({"unit": name, "number": number}).select(pl.col("unit").min().over("number")).to_series()


def _split(texts: pl.DataFrame) -> pl.Series:
    """Assign each text to a half by a hash bit of its unit."""
    # Salted: the corpus splits documents by the bare hash of the first synset, which is small in held-out documents.
    halves = [
        "select" if hashlib.sha256(f"half {unit}".encode()).digest()[0] < 128 else "score" for unit in texts["unit"]
    ]
    return pl.Series("split", halves, dtype=pl.String)


def _draws(text_ids: pl.Series, seed: int) -> pl.Series:
    """Draw a random number for every text from the seed and its id alone; the n smallest form the sample."""
    digests = (hashlib.sha256(f"{seed} {text_id}".encode()).digest() for text_id in text_ids)
    return pl.Series("draw", [int.from_bytes(digest[:8], "big") for digest in digests], dtype=pl.UInt64)
