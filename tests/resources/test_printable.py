"""What a terminal would obey is shown by its escape; everything else stays."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b]0;title\x07", "\\x1b[31mred\\x1b]0;title\\x07"),
        ("a\rb\x08c\x9bd", "a\\rb\\x08c\\x9bd"),
        ("abc\u202edcba\u2066x\u2069", "abc\\u202edcba\\u2066x\\u2069"),
        ("half \ud83d", "half \\ud83d"),
        ("line\n\ttab é 生物 [red] 🙂", "line\n\ttab é 生物 [red] 🙂"),
    ],
    ids=["escape", "controls", "direction", "surrogate", "text"],
)
def test_text_is_shown_and_not_obeyed(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(st.characters(categories=["Cc", "Cf", "Cs", "L", "N"])))
def test_nothing_raw_is_left(text: str) -> None:
    shown = printable(text)
    shown.encode("utf-8")
    assert not {one for one in shown if (ord(one) < 32 and one not in "\n\t") or 0x7F <= ord(one) <= 0x9F}
