"""Text from outside as it may stand on a terminal: escape sequences and marks of direction are shown, not obeyed."""

import re

_OBEYED = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f]"  # control characters, but for tab and newline
    r"|[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"  # marks of direction
    r"|[\u2028\u2029\ud800-\udfff]"  # line separators; halves of surrogate pairs, which cannot be encoded
)


def printable(text: str) -> str:
    r"""Replace characters that a terminal would obey by their escapes, such as `\x1b`."""
    return _OBEYED.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)
