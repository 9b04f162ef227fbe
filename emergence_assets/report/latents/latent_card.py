"""A latent on a card: its name, words, tokens and texts, as HTML that holds no markup of them."""

import html
from collections.abc import Mapping
from typing import Any

import polars as pl

from emergence_assets.report.latents.token_html import token_html

N_TEXTS = 5
"""Strongest texts on a card."""
_BOX = "border: 1px solid rgba(128,128,128,.35); border-radius: 8px; padding: .7rem .9rem; margin: .25rem 0"
_QUIET = "color: gray; font-size: .85rem"


def latent_card(
    latent: Mapping[str, Any] | None,
    examples: pl.DataFrame,
    *,
    step: int,
    layer: int,
    title: str = "",
    n_texts: int = N_TEXTS,
    with_weaker: bool = False,
) -> str:
    """Return the card of a latent.

    Args:
        latent: its row of `named_latents`; None for a card that says that there is none.
        examples: its rows of `latent_examples`.
        step: training step.
        layer: block index from 0.
        title: what the card stands for, such as "one step before".
        n_texts: largest number of strongest texts.
        with_weaker: whether texts at lower quantiles are shown too, and lowered tokens and categories.
    """
    head = f'<div style="color: gray; font-size: .8rem">{html.escape(title)}</div>' if title else ""
    if latent is None:
        return f'<div style="{_BOX}">{head}<i>no latent is named here</i></div>'
    texts = examples.sort("rank")
    largest = max((value or 0.0 for values in texts["activations"] for value in values), default=0.0)
    kind = "seed" if latent["control_id"] == "none" else "random encoder"
    lines = [
        f"<b>{html.escape(latent['name'])}</b>",
        f'<span style="{_QUIET}">latent {latent["latent"]}, step {step:,}, layer {layer}, {kind} {latent["sae_seed"]}; '
        f"active on {latent['density']:.1%} of the texts</span>",
        _listed("words", latent["words"], latent["words_z"]),
        _listed("raises", latent["raised"], latent["raised_by"]),
    ]
    if with_weaker:
        lines.append(_listed("lowers", latent["lowered"], latent["lowered_by"]))
        lines += [_listed(what, latent[what.replace(" ", "_")]) for what in ("best of", "accepted for")]
    lines += [_text(one, largest) for one in texts.filter(kind="strongest").head(n_texts).iter_rows(named=True)]
    if with_weaker:
        lines.append(f'<div style="{_QUIET}; margin-top: .4rem">weaker texts</div>')
        lines += [_text(one, largest) for one in texts.filter(kind="quantile").iter_rows(named=True)]
    return f'<div style="{_BOX}">{head}{"".join(f"<div>{line}</div>" for line in lines if line)}</div>'


def _listed(what: str, names: list[str], values: list[float] | None = None) -> str:
    if not names:
        return ""
    shown = [
        f'<bdi title="{values[place]:.2f}">{html.escape(name.strip() or repr(name))}</bdi>'
        if values
        else html.escape(name)
        for place, name in enumerate(names[:8])
    ]
    return f'<span style="font-size: .85rem"><span style="color: gray">{what}</span> {", ".join(shown)}</span>'


def _text(row: Mapping[str, Any], largest: float) -> str:
    return (
        f'<div style="margin: .3rem 0; font-size: .85rem" title="{html.escape(str(row["text_id"]))}">'
        f'<span style="color: gray">{row["activation"]:.2g}</span> '
        f"{token_html(row['tokens'], row['activations'], largest)}</div>"
    )
