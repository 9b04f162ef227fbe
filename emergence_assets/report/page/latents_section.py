"""Latents of the categories that have emerged, each with its strongest texts."""

import html
from collections.abc import Sequence

from emergence_assets.report.latents.category_latents import CategoryLatent
from emergence_assets.report.latents.latent_card import latent_card
from emergence_assets.report.page.sentences import signed, span

N_OPEN = 3
"""Latents that are open when the page is opened."""


def latents_section(found: Sequence[CategoryLatent]) -> str:
    """Return a sentence and a fold per latent with all its categories, the best claim first."""
    if not found:
        return (
            "<p>No category has a claim of grade A or B that it emerges, so no latent is shown here. "
            "<code>emergence explore</code> shows the best latent of every category.</p>"
        )
    latents: dict[object, list[CategoryLatent]] = {}
    for place, one in enumerate(found):
        where = [one.claim[name] for name in ("model", "step", "layer")]
        latents.setdefault((*where, one.latent["latent"]) if one.latent else place, []).append(one)
    cards = "".join(_fold(shared, place < N_OPEN) for place, shared in enumerate(latents.values()))
    return (
        f"<p>Number of categories with a claim of grade A or B that they emerge: {len(found)}. Each has here the best "
        "latent of the first SAE seed, in the largest model with such a claim, on its strongest probe texts; number of "
        f"different latents: {len(latents)}. Orange is the activation at a token, darkest at the largest. The name "
        "follows from words and tokens alone, without a language model. <code>emergence explore</code> shows the "
        f"latents of other steps, layers and seeds, and those of random encoders beside them.</p>{cards}"
    )


def _fold(shared: Sequence[CategoryLatent], is_open: bool) -> str:
    first = shared[0]
    names = ", ".join(html.escape(one.claim["category"]) for one in shared)
    claims = ", ".join(
        f"claims/{one.claim['claim_id']} {signed(one.claim['estimate'])} "
        f"({span(one.claim['lo'], one.claim['hi'], signed)}), grade {one.claim['grade']}"
        for one in shared
    )
    card = latent_card(first.latent, first.examples, step=first.claim["step"], layer=first.claim["layer"])
    return (
        f'<details class="latent"{" open" if is_open else ""}><summary><strong>{names}</strong> '
        f"<span><bdi>{html.escape(first.latent['name'] if first.latent else 'no latent is named')}</bdi>, "
        f"{html.escape(first.claim['model'])}; {html.escape(first.claim['unit'])}: {claims}</span></summary>"
        f"{card}</details>"
    )
