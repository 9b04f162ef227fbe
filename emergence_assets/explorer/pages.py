"""What the views of the explorer show: rows and HTML, made from the Python API alone."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

import emergence_assets as ea
from emergence_assets.explorer.cards import best_latent, latent_card

_HEADING = '<h3 style="font-size: 1.2rem">'
Place = Mapping[str, Any]
"""model, step, layer, seed, level, category and latent that are looked at."""


def chosen(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of `open_study` from those of the command line."""
    found: dict[str, Any] = {"study": str(arguments.get("study") or "default")}
    if arguments.get("data"):
        found["data"] = str(arguments.get("data"))
    return found | {"seed": int(arguments.get("seed") or 0)}


def missing(study: ea.StudyResults, *tables: str) -> str:
    """Return why a view has nothing to show yet: the first table that is not made, with the command that makes it."""
    for name in tables:
        if not study.is_made(name):
            try:
                study.scan(name)
            except ea.EmergenceError as error:
                return str(error)
    return ""


def first_place(study: ea.StudyResults) -> dict[str, Any]:
    """Return where the explorer begins: the last layer of the last step of the first model with a checkpoint."""
    model = next((model for model in study.models if study.steps(model)), study.models[0])
    if missing(study, "category_presence"):
        return {"model": model, "step": None, "layer": None, "latent": None, "level": None, "category": None, "seed": 0}
    level = levels(study)[0]
    return moved(study, model) | {
        "level": level,
        "category": categories(study, level)[0],
        "seed": study.settings.sae.seeds[0],
    }


def moved(study: ea.StudyResults, model: str) -> dict[str, Any]:
    """Return the last layer of the last step of a model."""
    return {"model": model, "step": study.steps(model)[-1], "layer": study.layers(model)[-1], "latent": None}


def levels(study: ea.StudyResults) -> list[str]:
    """List the levels of categories, the finest first."""
    rows = (
        study.scan("category_presence")
        .group_by("category_level", maintain_order=True)
        .agg(pl.col("category").n_unique())
    )
    return rows.sort("category", "category_level", descending=[True, False]).collect()["category_level"].to_list()


def categories(study: ea.StudyResults, level: str) -> list[str]:
    """List the measured categories of a level."""
    rows = study.scan("category_presence").filter(category_level=level, control_id="none")
    return rows.select("category").unique().collect().to_series().sort().to_list()


def title(study: ea.StudyResults) -> str:
    """Return name and description of the study as HTML without their markup."""
    name, description = html.escape(study.name), html.escape(study.settings.description or "")
    return f'<h2 style="margin: 0; font-size: 1.6rem"><bdi>{name}</bdi></h2><div><bdi>{description}</bdi></div>'


def heading(place: Place) -> str:
    """Return the heading of the latents of a cell as HTML."""
    category = html.escape(place["category"])
    return f"{_HEADING}Best latent for <bdi>{category}</bdi> at step {place['step']:,}, layer {place['layer']}</h3>"


def headline(study: ea.StudyResults) -> str:
    """Return the headline as an HTML table, as in the report: presence beside its controls, smallest model first."""
    rows = study.table("headline").filter(control_id="none", category_level=study.level).sort("n_params_nonemb")
    head = ("model", "best latent", "random direction", "net rise [95 %]", "dense probe")
    body = [
        (
            row["model"],
            f"{row['p_first']:.3f} to {row['p_last']:.3f}",
            f"{row['p_random_first']:.3f} to {row['p_random_last']:.3f}",
            f"{row['net_rise']:+.3f} [{row['net_rise_lo']:.3f}, {row['net_rise_hi']:.3f}]",
            f"{row['p_dense_last']:.3f}",
        )
        for row in rows.iter_rows(named=True)
    ]
    cells = "".join(f"<tr>{''.join(f'<td>{html.escape(one)}</td>' for one in row)}</tr>" for row in body)
    heads = "".join(f'<th style="text-align: left">{one}</th>' for one in head)
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{cells}</tbody></table>"


def claim_choices(study: ea.StudyResults) -> dict[str, list[str]]:
    """Return by what claims can be chosen, with the values that occur."""
    claims = study.table("claims")
    columns = {name: claims[name] for name in ("grade", "kind", "model", "category")}
    columns |= {"control failed": claims["controls_failed"].explode()}
    return {name: found.drop_nulls().unique().sort().to_list() for name, found in columns.items()}


def claims_table(study: ea.StudyResults, chosen: Mapping[str, Sequence[str]]) -> pl.DataFrame:
    """Return claims, a row each, best grade first.

    Args:
        study: the study.
        chosen: name of `claim_choices` to the values of the claims that are wanted; none for all values.
    """
    claims = study.table("claims")
    for name, values in chosen.items():
        if values:
            one_of = pl.col("controls_failed").list.set_intersection(list(values)).list.len() > 0
            claims = claims.filter(one_of if name == "control failed" else pl.col(name).is_in(list(values)))
    return claims.select(
        pl.col("claim_id").alias("#"),
        "grade",
        "kind",
        "model",
        pl.coalesce("category", pl.format("mean of {}s", "category_level")).alias("about"),
        pl.col("estimate", "lo", "hi").round(3),
        "unit",
        "statement",
        pl.col("controls_failed").list.join(", "),
    )


def claim(study: ea.StudyResults, number: int) -> dict[str, Any]:
    """Return one claim."""
    return study.table("claims").filter(claim_id=number).row(0, named=True)


def place_of(study: ea.StudyResults, claim: Mapping[str, Any]) -> dict[str, Any]:
    """Return the place that a claim is about, as far as it names one."""
    found = {name: claim[name] for name in ("model", "step", "layer", "category") if claim[name] is not None}
    if claim["category_level"] is not None:
        found["level"] = claim["category_level"]
        found.setdefault("category", categories(study, claim["category_level"])[0])
    if "model" in found:
        found = moved(study, found["model"]) | found
    return found | {"latent": None}


def claim_card(study: ea.StudyResults, claim: Mapping[str, Any]) -> str:
    """Return a claim with its controls and the best latents of its category, each seed beside a random encoder."""
    lists = {
        "passed": claim["controls_passed"],
        "failed": claim["controls_failed"],
        "not measured": claim["controls_missing"],
    }
    controls = "".join(
        f"<div><b>{what}</b> {html.escape(', '.join(names))}</div>" for what, names in lists.items() if names
    )
    text = (
        f"{_HEADING}Claim {claim['claim_id']}, grade {claim['grade']}</h3><p>{html.escape(claim['statement'])}</p>"
        f'<div style="font-size: .85rem">{controls}</div>'
    )
    if None in (claim["category"], claim["layer"], claim["step"]):
        return (
            text
            + "<p><i>It is no statement about one category in one layer; its category view shows all layers.</i></p>"
        )
    where = (claim["model"], claim["step"], claim["layer"])
    category = f"{claim['category_level']}/{claim['category']}"
    found = [
        latent_card(study, *where, seed, best_latent(study, *where, seed, category), title=f"SAE seed {seed}")
        for seed in study.settings.sae.seeds
    ]
    return text + _columns([*found, _random(study, where, category)])


def compared(study: ea.StudyResults, place: Place) -> str:
    """Return the best latent of a category beside those of the step before and after, of other layers and seeds."""
    model, step, layer, seed = (place[name] for name in ("model", "step", "layer", "seed"))
    category, steps, layers = f"{place['level']}/{place['category']}", study.steps(model), study.layers(model)
    near = [("this cell", step, layer, seed)]
    near += [(f"the step {which}", one, layer, seed) for which, one in _beside(steps, step)]
    near += [(f"the layer {which}", step, one, seed) for which, one in _beside(layers, layer)]
    near += [(f"SAE seed {one}", step, layer, one) for one in study.settings.sae.seeds if one != seed]
    found = []
    for title, at_step, at_layer, at_seed in near:
        where = (model, at_step, at_layer)
        latent = best_latent(study, *where, at_seed, category)
        found.append(latent_card(study, *where, at_seed, latent, title=title, n_texts=5 if title == "this cell" else 3))
    return _columns([*found, _random(study, (model, step, layer), category)])


def _beside(values: Sequence[int], value: int) -> list[tuple[str, int]]:
    """Return the values before and after one of them, as far as there are any."""
    place = values.index(value)
    before, after = values[max(0, place - 1) : place], values[place + 1 : place + 2]
    return [*(("before", one) for one in before), *(("after", one) for one in after)]


def random_beside(study: ea.StudyResults, place: Place, latent: int) -> str:
    """Return the best latent of a random encoder for the same category: the honest comparison."""
    row = named(study, place).filter(latent=latent).row(0, named=True)
    category = (row["best_of"] or row["accepted_for"] or [f"{place['level']}/{place['category']}"])[0]
    return _random(study, (place["model"], place["step"], place["layer"]), category)


def named(study: ea.StudyResults, place: Place) -> pl.DataFrame:
    """Return the named latents of the SAE at a place."""
    rows = study.table("named_latents", model=place["model"], step=place["step"], layer=place["layer"])
    return rows.filter(control_id="none", sae_seed=place["seed"])


def _random(study: ea.StudyResults, where: tuple[str, int, int], category: str) -> str:
    latent = best_latent(study, *where, 0, category, "random_encoder")
    title = f"best latent of a random encoder for {category.partition('/')[2]}"
    return latent_card(study, *where, 0, latent, control_id="random_encoder", title=title)


def _columns(cards: Sequence[str]) -> str:
    grid = "display: grid; grid-template-columns: repeat(auto-fill, minmax(24rem, 1fr)); gap: .6rem"
    return f'<div style="{grid}">{"".join(cards)}</div>'
