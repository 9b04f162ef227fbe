"""Limits of files of texts from outside, and the errors about files that cannot be used."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from resources.errors import EmergenceError

SHOWN_CHARACTERS = 200
"""Most characters of a file's own words in a message."""
Row = tuple[int, Sequence[str | None]]
"""Number of a line or row, and its values in the order of the columns."""


class Limits(NamedTuple):
    """Limits of one kind of files; a file beyond one is refused before it takes the memory."""

    kind: str
    """Name of the kind in messages."""
    max_bytes: int
    """Size limit of a file, and of its decompressed columns."""
    max_texts: int
    max_characters: int
    """Length limit of one value."""
    max_line_characters: int
    """Length limit of a line; a line of JSON takes up to 30 times its length in memory."""

    def refused(self, path: Path, what: str, remedy: str) -> EmergenceError:
        """Make the error about a file that cannot be used."""
        return EmergenceError(f"The {self.kind} cannot be used: {what}.", where=path, remedy=remedy)

    def places(self, path: Path, header: Sequence[str], columns: Sequence[str]) -> list[int]:
        """Return the position of every column in the header of a file.

        Raises:
            EmergenceError: a column is missing, or there is more than one of its name.
        """
        if lacking := [column for column in columns if column not in header]:
            has = ", ".join(header[:20])[:SHOWN_CHARACTERS] or "none"
            what = f"it has no column {', '.join(lacking)}; it has {has}"
            raise self.refused(path, what, "correct the names in the study, or the header of the file")
        if repeated := [column for column in columns if list(header).count(column) > 1]:
            raise self.refused(path, f"it has more than one column {repeated[0]}", "rename one of them")
        return [list(header).index(column) for column in columns]


PROBE_FILE = Limits("probe file", 512 * 2**20, 1_000_000, 100_000, 8 * 2**20)
CORPUS_FILE = Limits("corpus file", 2**44, 2**40, 20_000_000, 2**26)
"""Files that are read as a stream: only a document has to fit into memory."""
