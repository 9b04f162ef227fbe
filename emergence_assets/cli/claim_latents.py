"""The latents behind a claim about a category, with the texts on which they are active."""

from collections.abc import Mapping, Sequence
from typing import Any

from emergence_assets.cli.options import open_study
from resources.errors import EmergenceError

SHOWN_TEXTS = 5
SHOWN_CHARACTERS = 76


def claim_latents(claim: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the best latent of the claim's category in every SAE of its cell: latent, seed, name, texts.

    Tokens on which the latent is active stand in brackets. Empty for a claim without a category or a layer, and before
    `latent_examples` is made.
    """
    if None in (claim["model"], claim["category"], claim["step"], claim["layer"]):
        return []
    from emergence_assets.api.study_results import StudyResults

    plan = open_study()
    study = StudyResults(plan.study, plan.storage)
    where = {name: claim[name] for name in ("model", "step", "layer")}
    try:
        named, examples = (study.table(name, **where) for name in ("named_latents", "latent_examples"))
    except EmergenceError:
        return []
    of_category = f"{claim['category_level']}/{claim['category']}"
    found = []
    for row in named.filter(control_id="none").iter_rows(named=True):
        if of_category in row["best_of"]:
            own = examples.filter(control_id="none", sae_seed=row["sae_seed"], latent=row["latent"], kind="strongest")
            texts = [_marked(*one) for one in own.select("tokens", "activations").head(SHOWN_TEXTS).iter_rows()]
            found.append({"latent": row["latent"], "seed": row["sae_seed"], "name": row["name"], "texts": texts})
    return found


def _marked(tokens: Sequence[str], activations: Sequence[float | None]) -> str:
    """Return a text in one line, with brackets around the pieces on which the latent is active."""
    pieces = [f"[{piece}]" if value else piece for piece, value in zip(tokens[1:], activations[1:], strict=True)]
    text = " ".join("".join(pieces).replace("][", "").split())
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 1]}…"
