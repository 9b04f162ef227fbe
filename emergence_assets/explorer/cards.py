"""Latents of an open study on cards."""

import polars as pl

import emergence_assets as ea
from emergence_assets.report.latents.latent_card import N_TEXTS
from emergence_assets.report.latents.latent_card import latent_card as card


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
    n_texts: int = N_TEXTS,
    with_weaker: bool = False,
) -> str:
    """Return the card of a latent as HTML; see `emergence_assets.report.latents.latent_card`.

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
    shown = {"step": step, "layer": layer, "title": title, "n_texts": n_texts, "with_weaker": with_weaker}
    if latent is None:
        return card(None, pl.DataFrame(), **shown)
    key = {"control_id": control_id, "sae_seed": seed, "latent": latent}
    named, examples = (
        study.table(name, model=model, step=step, layer=layer).filter(**key)
        for name in ("named_latents", "latent_examples")
    )
    return card(named.row(0, named=True), examples, **shown)
