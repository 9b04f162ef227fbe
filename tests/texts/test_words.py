"""Words in scripts with and without spaces; words that look the same are equal."""

import pytest

from emergence_assets.texts.words import WORD_IN_PLACE, words


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The cat's x-ray, again.", ["the", "cat", "s", "x", "ray", "again"]),
        ("生物学 は 楽しい", ["生", "物", "学", "は", "楽", "し", "い"]),
        ("データ と DNA", ["データ", "と", "dna"]),
        ("नमस्ते दुनिया", ["नमस्ते", "दुनिया"]),
        ("สวัสดี", ["ส", "วั", "ส", "ดี"]),
        ("한국어 단어", ["한국어", "단어"]),
        ("Caf\u00e9 Cafe\u0301 ＣＡＦÉ", ["caf\u00e9"] * 3),
        ("straße STRASSE", ["strasse", "strasse"]),
        ("…—!", []),
    ],
    ids=["english", "han", "katakana", "devanagari", "thai", "hangul", "normalised", "folded", "none"],
)
def test_words_of_scripts(text: str, found: list[str]) -> None:
    assert words(text) == found


def test_words_in_place_cover_all_words_and_nothing_between() -> None:
    text = "Don't re-read 生物, please"
    assert WORD_IN_PLACE.findall(text) == ["Don't", "re-read", "生", "物", "please"]
    assert WORD_IN_PLACE.sub("_", text) == "_ _ __, _"
