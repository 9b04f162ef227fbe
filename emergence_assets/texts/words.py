"""Words of a text in any script, for the controls by words, near-duplicates, templates and lengths.

Unicode's word characters form words (Unicode Standard Annex 29 has no finer rule without dictionaries). In scripts that
are written without spaces between words, each character is one, with the marks on it.
"""

import unicodedata

import regex

_UNSPACED = r"\p{Han}\p{Hiragana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}\p{Javanese}\p{Balinese}\p{Tai_Tham}"
_CHARACTER, _RUN = rf"[{_UNSPACED}]\p{{M}}*", rf"[\w--[{_UNSPACED}]]+"
_WORD = regex.compile(f"{_CHARACTER}|{_RUN}", regex.VERSION1)
WORD_IN_PLACE = regex.compile(rf"{_CHARACTER}|{_RUN}(?:['\u2019-]{_RUN})*", regex.VERSION1)
"""A word where it stands in a text; joined by apostrophes and hyphens."""


def words(text: str) -> list[str]:
    """Split a text into words, normalised (NFKC) and without case, so that words that look the same are equal."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
