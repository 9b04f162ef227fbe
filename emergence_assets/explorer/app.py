# /// script
# [tool.marimo.display]
# theme = "system"
# ///
"""The explorer: a marimo app over one study. `emergence explore` opens it; with `--edit` as a notebook to change."""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="full", app_title="Emergence explorer")
# A control needs a name in its cell: marimo keeps it alive, and calls its on_change, for that name alone.

with app.setup:
    import marimo as mo
    import polars as pl
    from polars import selectors as cs

    import emergence_assets as ea
    from emergence_assets.explorer import cards, charts, pages

    SAE_COLUMNS = ("step", "layer", "sae_seed", "fvu", "l0", "dead_frac", "kl_recovered", "loss_recovered")
    CHECKPOINT_COLUMNS = ("step", "status", "reason", "loss", "cos_to_step0", "tokens_seen", "location")
    VIEWS = ("Overview", "Category", "Latent", "Claims", "SAEs and checkpoints")


@app.cell
def _():
    study = ea.open_study(**pages.chosen(mo.cli_args().to_dict()))
    first_place = pages.first_place(study)
    return first_place, study


@app.cell
def _(first_place, study):
    # A view that changes the place is drawn again itself.
    get_view, set_view = mo.state(VIEWS[0], allow_self_loops=True)
    get_place, set_place = mo.state(first_place, allow_self_loops=True)
    get_claim, set_claim = mo.state({}, allow_self_loops=True)

    def go(view=None, **changes):
        """Change the place, and the view after it."""
        set_place(lambda place: {**place, **changes})
        if view:
            set_view(view)

    def open_claim(rows):
        """Show the claim of the chosen row, and make its place the place that is looked at."""
        if rows is not None and len(rows):
            claim = pages.claim(study, int(rows["#"][0]))
            set_claim(claim)
            go("Claims", **pages.place_of(study, claim))

    return get_claim, get_place, get_view, go, open_claim, set_view


@app.cell
def _(get_view, set_view, study):
    tabs = mo.ui.tabs(dict.fromkeys(VIEWS, ""), value=get_view(), on_change=set_view)
    mo.vstack([mo.Html(pages.title(study)), tabs])
    return


@app.cell
def _(get_view, open_claim, study):
    # Overview: a claim that is clicked opens with its evidence.
    mo.stop(get_view() != "Overview")
    no_overview = pages.missing(study, "headline", "claims")
    mo.stop(bool(no_overview), mo.callout(no_overview))
    overview_claims = pages.claims_table(study, {"grade": ["A", "B", "C"]})

    overview_list = mo.ui.table(
        overview_claims,
        selection="single",
        page_size=12,
        on_change=open_claim,
        show_download=False,
        show_column_summaries=False,
    )
    mo.vstack(
        [
            mo.Html(pages.headline(study)),
            mo.md(
                f"**{overview_claims.height} claims of grade A, B or C**; click one to see its latents and texts. "
                "Rejected claims are under *Claims*."
            ),
            overview_list,
            mo.accordion(
                {"What is made": mo.ui.table(study.tables().select("table", "files", "description"), selection=None)}
            ),
        ]
    )
    return


@app.cell
def _(get_place, get_view, go, study):
    # Category: where it is chosen.
    mo.stop(get_view() != "Category")
    no_category = pages.missing(study, "category_presence", "named_latents")
    mo.stop(bool(no_category), mo.callout(no_category))
    place = get_place()
    categories = pages.categories(study, place["level"])
    choose_model = mo.ui.dropdown(
        study.models, value=place["model"], label="model", on_change=lambda model: go(**pages.moved(study, model))
    )
    choose_level = mo.ui.dropdown(
        pages.levels(study),
        value=place["level"],
        label="level",
        on_change=lambda level: go(level=level, category=pages.categories(study, level)[0]),
    )
    choose_category = mo.ui.dropdown(
        categories, value=place["category"], label="category", searchable=True, on_change=lambda one: go(category=one)
    )
    choose_seed = mo.ui.dropdown(
        {str(seed): seed for seed in study.settings.sae.seeds},
        value=str(place["seed"]),
        label="SAE seed",
        on_change=lambda seed: go(seed=seed),
    )
    mo.hstack([choose_model, choose_level, choose_category, choose_seed], justify="start", gap=1.5)
    return


@app.cell
def _(get_place, get_view, go, study):
    # Category: heat map, curves, and the best latent of the clicked cell with its neighbours.
    mo.stop(get_view() != "Category" or bool(pages.missing(study, "category_presence", "named_latents")))
    at = get_place()
    rows = charts.presence_of(study, at["model"], at["level"], at["category"])

    def clicked(found):
        if (
            found is not None
            and len(found)
            and (int(found["step"][0]), int(found["layer"][0])) != (at["step"], at["layer"])
        ):
            go(step=int(found["step"][0]), layer=int(found["layer"][0]))

    heat = mo.ui.altair_chart(charts.heat_map(rows), chart_selection="point", legend_selection=False, on_change=clicked)
    sizes = charts.over_sizes(study, at["level"], at["category"])
    mo.vstack(
        [
            mo.hstack(
                [heat, charts.over_steps(rows, at["layer"]), charts.over_layers(rows, at["step"])],
                justify="start",
                wrap=True,
            ),
            mo.Html(pages.heading(at)),
            mo.Html(pages.compared(study, at)),
            *([] if sizes is None else [sizes]),
        ]
    )
    return


@app.cell
def _(get_place, get_view, go, study):
    # Latent: everything that is known of one latent.
    mo.stop(get_view() != "Latent")
    no_latents = pages.missing(study, "category_presence", "named_latents", "latent_examples")
    mo.stop(bool(no_latents), mo.callout(no_latents))
    here = get_place()
    named = pages.named(study, here)
    by_name = {f"{row['latent']}: {row['name']}": row["latent"] for row in named.iter_rows(named=True)}
    chosen = here["latent"] if here["latent"] in by_name.values() else next(iter(by_name.values()), None)
    mo.stop(chosen is None, mo.md("No latent is named at this place."))
    choose_latent = mo.ui.dropdown(
        by_name,
        value=next(key for key, one in by_name.items() if one == chosen),
        label="latent",
        searchable=True,
        on_change=lambda one: go(latent=one),
    )
    choose_step = mo.ui.dropdown(
        {f"{step:,}": step for step in study.steps(here["model"])},
        value=f"{here['step']:,}",
        label="step",
        on_change=lambda one: go(step=one, latent=None),
    )
    choose_layer = mo.ui.dropdown(
        {str(one): one for one in study.layers(here["model"])},
        value=str(here["layer"]),
        label="layer",
        on_change=lambda one: go(layer=one, latent=None),
    )
    latent = study.latent(here["model"], here["step"], here["layer"], chosen, seed=here["seed"])

    def open_neighbour(rows):
        if rows is not None and len(rows):
            row = rows.to_dicts()[0] if isinstance(rows, pl.DataFrame) else rows[0]
            go(**{name: row[name] for name in ("model", "step", "layer", "seed", "latent")})

    neighbours = mo.ui.table(
        latent.neighbours,
        selection="single",
        page_size=8,
        on_change=open_neighbour,
        show_download=False,
        show_column_summaries=False,
    )
    mo.vstack(
        [
            mo.hstack([choose_step, choose_layer, choose_latent], justify="start", gap=1.5),
            mo.hstack(
                [
                    mo.Html(
                        cards.latent_card(
                            study, here["model"], here["step"], here["layer"], here["seed"], chosen, with_weaker=True
                        )
                    ),
                    mo.Html(pages.random_beside(study, here, int(chosen or 0))),
                ],
                widths=[1, 1],
            ),
            mo.md(f"### Latents that are matched with it ({latent.neighbours.height})"),
            neighbours,
        ]
    )
    return


@app.cell
def _(get_view, study):
    # Claims: by which of them are listed.
    mo.stop(get_view() != "Claims")
    no_claims = pages.missing(study, "claims", "named_latents")
    mo.stop(bool(no_claims), mo.callout(no_claims))
    claim_filters = mo.ui.dictionary(
        {name: mo.ui.multiselect(values, label=name) for name, values in pages.claim_choices(study).items()}
    )
    mo.hstack(list(claim_filters.elements.values()), justify="start", gap=1.5, wrap=True)
    return (claim_filters,)


@app.cell
def _(claim_filters, get_view, open_claim, study):
    # Claims: those that are listed.
    mo.stop(get_view() != "Claims")
    chosen_claims = pages.claims_table(study, claim_filters.value)
    claims_list = mo.ui.table(
        chosen_claims,
        selection="single",
        page_size=10,
        on_change=open_claim,
        show_download=False,
        show_column_summaries=False,
    )
    mo.vstack([mo.md(f"{chosen_claims.height} claims; click one."), claims_list])
    return


@app.cell
def _(get_claim, get_view, go, study):
    # Claims: the evidence of the chosen one.
    mo.stop(get_view() != "Claims" or not get_claim())
    to_category = mo.ui.button(label="open its category", on_change=lambda _: go("Category"))
    mo.vstack([mo.Html(pages.claim_card(study, get_claim())), to_category])
    return


@app.cell
def _(get_place, get_view, go, study):
    mo.stop(get_view() != "SAEs and checkpoints")
    no_saes = pages.missing(study, "sae_metrics", "checkpoint_registry")
    mo.stop(bool(no_saes), mo.callout(no_saes))
    of_model = get_place()["model"]
    metrics = study.table("sae_metrics", model=of_model)
    choose_sae_model = mo.ui.dropdown(
        study.models, value=of_model, label="model", on_change=lambda model: go(**pages.moved(study, model))
    )
    mo.vstack(
        [
            choose_sae_model,
            charts.sae_quality(metrics),
            mo.ui.table(metrics.select(SAE_COLUMNS).with_columns(cs.float().round(4)), selection=None, page_size=10),
            mo.md("### Checkpoints"),
            mo.ui.table(study.checkpoints(of_model).select(CHECKPOINT_COLUMNS), selection=None),
        ]
    )
    return


if __name__ == "__main__":
    app.run()
