"""Interface of progress reports."""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass


Report = Callable[[int, int, str], None]
"""Called with units done, units in all, and a note."""
