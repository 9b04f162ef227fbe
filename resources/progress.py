"""Interface of progress reports."""

from collections.abc import Callable

Report = Callable[[int, int, str], None]
"""Called with units done, units in all, and a note."""
