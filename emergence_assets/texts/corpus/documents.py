"""Documents of a training corpus, read as a stream: only one batch of rows is in memory."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from emergence_assets.texts.corpus.files import CorpusFile, kind_of, require_unchanged
from emergence_assets.texts.text_limits import CORPUS_FILE, Limits, Row
from emergence_assets.texts.text_lines import csv_rows, json_rows, text_lines
from emergence_assets.texts.text_parquet import parquet_rows

_READERS: dict[str, Callable[[Path, Sequence[str], Limits], Iterator[Row]]] = {
    ".parquet": parquet_rows,
    ".jsonl": json_rows,
    ".ndjson": json_rows,
    ".csv": csv_rows,
    ".tsv": csv_rows,
}


def documents(files: Iterable[CorpusFile], text_column: str) -> Iterator[str]:
    """Yield the documents of a corpus in the order of files and rows, without empty ones.

    Args:
        files: files of `corpus_files` or `shards.fetched_shards`; no more are taken than are read.
        text_column: column of the documents.

    Raises:
        EmergenceError: a file is damaged, has no such column of texts, or holds a document beyond the limits of
            `text_limits.py`; names file and line.
    """
    for file in files:
        path = Path(file.path)
        require_unchanged(file)
        try:
            for text in _texts(path, text_column):
                if text.strip():
                    yield text
        except OSError as error:  # also of a compressed file that is cut off
            raise CORPUS_FILE.refused(path, error.strerror or str(error), "replace it by a whole file") from None
        require_unchanged(file)


def _texts(path: Path, text_column: str) -> Iterator[str]:
    reader = _READERS.get(kind_of(path))
    if reader is None:
        yield from _paragraph_groups(path)
        return
    for number, (text,) in reader(path, [text_column], CORPUS_FILE):
        if text is not None and len(text) > CORPUS_FILE.max_characters:
            what = f"the document in row or line {number} has more than {CORPUS_FILE.max_characters} characters"
            raise CORPUS_FILE.refused(path, what, "split it into documents")
        yield text or ""


def _paragraph_groups(path: Path) -> Iterator[str]:
    """Yield the documents of a text file, which empty lines separate."""
    lines: list[str] = []
    n_characters = 0
    for line in text_lines(path, CORPUS_FILE):
        if line.strip():
            lines.append(line)
            n_characters += len(line)
            if n_characters > CORPUS_FILE.max_characters:
                what = f"a document has more than {CORPUS_FILE.max_characters} characters"
                raise CORPUS_FILE.refused(path, what, "separate documents by empty lines")
        elif lines:
            yield "".join(lines)
            lines, n_characters = [], 0
    if lines:
        yield "".join(lines)
