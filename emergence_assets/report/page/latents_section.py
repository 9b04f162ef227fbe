"""Latents of the categories that have emerged, each with its strongest texts."""

import html
from collections.abc import Sequence

from emergence_assets.report.latents.category_latents import CategoryLatent
from emergence_assets.report.latents.latent_card import latent_card
from emergence_assets.report.page.sentences import signed, span

N_OPEN = 3
"""Latents that are open when the page is opened."""


def latents_section(found: Sequence[CategoryLatent]) -> str:
    """Return a heading, a sentence and a fold per latent, the best claim first."""
    if not found:
        return (
            "<p>No category has a claim of grade A or B that it emerges, so no latent is shown here. "
            "<code>emergence explore</code> shows the best latent of every category.</p>"
        )
    cards = "".join(_fold(one, place < N_OPEN) for place, one in enumerate(found))
    return (
        f"<p>Number of categories with a claim of grade A or B that they emerge: {len(found)}. Each has here the best "
        "latent of its first SAE seed, in the largest model with such a claim, on its strongest probe texts. Orange is "
        "the activation at a token, darkest at the largest; the name follows from words and tokens alone, without a "
        "language model. <code>emergence explore</code> shows the latents of other steps, layers and seeds, and those "
        f"of random encoders beside them.</p>{cards}"
    )


def _fold(one: CategoryLatent, is_open: bool) -> str:
    claim, name = one.claim, one.latent["name"] if one.latent else "no latent is named"
    interval = span(claim["lo"], claim["hi"], signed)
    card = latent_card(one.latent, one.examples, step=claim["step"], layer=claim["layer"])
    return (
        f'<details class="latent"{" open" if is_open else ""}><summary><strong>{html.escape(claim["category"])}'
        f"</strong> <bdi>{html.escape(name)}</bdi> <span>claims/{claim['claim_id']}, grade {claim['grade']}, "
        f"{html.escape(claim['model'])}: {signed(claim['estimate'])} ({interval}) {html.escape(claim['unit'])}"
        f"</span></summary>{card}</details>"
    )
