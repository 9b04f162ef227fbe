"""Numbers of texts, rows and labels of a study, from which disk space is predicted."""

from typing import NamedTuple


class TextCounts(NamedTuple):
    """Counts of one study, equal for all its cells."""

    n_rows: int
    """Training rows of a layer."""
    n_probes: int
    """Probe texts."""
    token_file_bytes: int
    category_sizes: tuple[int, ...]
    """Probe texts of every category of every label level."""
    is_exact: bool
    """Whether the texts were tokenised; otherwise rows are estimated from characters."""
