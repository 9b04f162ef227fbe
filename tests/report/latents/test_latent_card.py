"""A card shows text as text, and marks the tokens on which the latent is active."""

import re
from html import unescape

import polars as pl

from emergence_assets.report.latents.latent_card import latent_card
from emergence_assets.report.latents.token_html import LONGEST, token_html
from tests.features.planted_latents import PIECES, latent_examples, named_latents

HOSTILE = "</b><script>alert(1)</script>\u202e"
NAMED = named_latents({3: "quiet", 7: HOSTILE}, seeds=(0,)).filter(control_id="none", latent=7)
EXAMPLES = latent_examples(NAMED)


def shown(html: str) -> str:
    """Return the text of HTML without its elements."""
    return unescape(re.sub(r"<[^>]*>", "", html))


def test_a_card_shows_name_words_tokens_and_the_strongest_texts_first() -> None:
    card = latent_card(NAMED.row(0, named=True), EXAMPLES, step=1500, layer=2, title="the <b>step</b> before")
    assert HOSTILE in shown(card)
    assert "the <b>step</b> before" in shown(card)
    assert "latent 7, step 1,500, layer 2, seed 0" in shown(card)
    assert "<script" not in card
    assert card.count("<bdi style") == 2
    assert card.index('title="t0"') < card.index('title="t1"')
    weaker = latent_card(NAMED.row(0, named=True), EXAMPLES, step=1500, layer=2, with_weaker=True)
    assert weaker.count("<bdi style") == 3
    assert "best of subject/dog" in shown(weaker)
    assert "accepted for" not in shown(weaker)


def test_a_missing_latent_and_a_random_encoder_are_called_so() -> None:
    assert "no latent is named here" in latent_card(None, pl.DataFrame(), step=0, layer=0)
    row = NAMED.row(0, named=True) | {"control_id": "random_encoder"}
    assert "random encoder 0" in latent_card(row, EXAMPLES, step=0, layer=0)


def test_the_tokens_are_the_text_and_active_ones_are_marked() -> None:
    values = [None, *(0.0 if place % 2 else 1.0 + place for place in range(len(PIECES) - 1))]
    html = token_html(PIECES, values, largest=max(value or 0 for value in values))
    assert shown(html) == "".join(PIECES[1:]).replace("\n", "↵")
    assert html.count("<span") == sum(1 for value in values if value)
    assert html.count("rgba(230, 120, 20, 0.90)") == 1


def test_a_long_text_ends_and_a_latent_that_is_never_active_marks_nothing() -> None:
    html = token_html(["", *("word " for _ in range(10_000))], [None, *[0.0] * 10_000], largest=0.0)
    assert len(shown(html)) <= LONGEST + 1
    assert shown(html).endswith("…")
    assert "<span" not in html
