"""A latent on a card: its name, words, tokens and texts."""

import html
from collections.abc import Mapping
from typing import Any

import polars as pl

import emergence_assets as ea
from emergence_assets.explorer.token_html import token_html


def best_latent(
    study: ea.StudyResults, model: str, step: int, layer: int, seed: int, category: str, control_id: str = "none"
) -> int | None:
    """Return the best latent of a category (as level/category) in an SAE or random encoder; None if none is named."""
    named = study.table("named_latents", model=model, step=step, layer=layer)
    own = named.filter(pl.col("best_of").list.contains(category), control_id=control_id, sae_seed=seed)
    return None if own.is_empty() else int(own["latent"][0])


def latent_card(
    study: ea.StudyResults,
    model: str,
    step: int,
    layer: int,
    seed: int,
    latent: int | None,
    *,
    control_id: str = "none",
    title: str = "",
    n_texts: int = 5,
    with_weaker: bool = False,
) -> str:
    """Return the card of a latent as HTML.

    Args:
        study: the study.
        model: name of the model.
        step: training step.
        layer: block index from 0.
        seed: seed of the SAE, or number of the random encoder.
        latent: index of the latent; None for a card that says that there is none.
        control_id: none, or random_encoder.
        title: what the card stands for, such as "one step before".
        n_texts: largest number of strongest texts.
        with_weaker: whether texts at lower quantiles are shown too.
    """
    head = f'<div style="color: gray; font-size: .8rem">{html.escape(title)}</div>' if title else ""
    box = "border: 1px solid rgba(128,128,128,.35); border-radius: 8px; padding: .7rem .9rem; margin: .25rem 0"
    if latent is None:
        return f'<div style="{box}">{head}<i>no latent is named here</i></div>'
    key = {"control_id": control_id, "sae_seed": seed, "latent": latent}
    row = study.table("named_latents", model=model, step=step, layer=layer).filter(**key).row(0, named=True)
    texts = study.table("latent_examples", model=model, step=step, layer=layer).filter(**key).sort("rank")
    strongest = texts.filter(kind="strongest").head(n_texts)
    largest = max((value or 0.0 for values in texts["activations"] for value in values), default=0.0)
    lines = [
        f"<b>{html.escape(row['name'])}</b>",
        f'<span style="color: gray; font-size: .85rem">latent {latent}, step {step:,}, layer {layer}, '
        f"{'seed' if control_id == 'none' else 'random encoder'} {seed}; active on {row['density']:.1%} of the texts"
        "</span>",
        _listed("words", row["words"], row["words_z"]),
        _listed("raises", row["raised"], row["raised_by"]),
        _listed("lowers", row["lowered"], row["lowered_by"]) if with_weaker else "",
        _listed("best latent of", row["best_of"]) if with_weaker else "",
        _listed("accepted for", row["accepted_for"]) if with_weaker else "",
    ]
    lines += [_text(one, largest) for one in strongest.iter_rows(named=True)]
    if with_weaker:
        lines.append('<div style="color: gray; font-size: .85rem; margin-top: .4rem">weaker texts</div>')
        lines += [_text(one, largest) for one in texts.filter(kind="quantile").iter_rows(named=True)]
    return f'<div style="{box}">{head}{"".join(f"<div>{line}</div>" for line in lines if line)}</div>'


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
