"""Seconds of every view of the explorer on a study of 30,000 cells: rows, HTML and charts, without the browser."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import emergence_assets as ea
from benchmarks.large_study import plant_study
from benchmarks.rounds import Table
from benchmarks.study_run import run_study
from emergence_assets.explorer import charts, pages
from emergence_assets.study.load import load_study

ROUNDS = 3


def measure_explorer_views() -> Table:
    """Run the quick study, plant 30,000 cells of its tables, and make what each view shows, three times; medians."""
    with tempfile.TemporaryDirectory() as data:
        run_study("quick", data)
        path = Path(data) / "large.yaml"
        plant_study(path, load_study("quick"), Path(data))
        return measured_views(path, Path(data))


def measured_views(study_file: Path, data: Path) -> Table:
    """Make what each view of a planted study shows; medians of seconds."""
    table: Table = {}

    def measure(name: str, make: Callable[[], Any]) -> Any:
        seconds, made = [], None
        for _ in range(ROUNDS):
            began = time.perf_counter()
            made = make()
            seconds.append(time.perf_counter() - began)
        table[name] = {"s (aim: 2)": float(np.median(seconds))}
        return made

    study = measure("open", lambda: ea.open_study(study_file, data))
    place = measure("first place", lambda: pages.first_place(study))
    measure("overview", lambda: (pages.missing(study, "headline", "claims"), pages.claims_table(study, {})))

    def category() -> Any:
        missing = pages.missing(study, "category_presence", "named_latents")
        rows = charts.presence_of(study, place["model"], place["level"], place["category"])
        drawn = [
            charts.heat_map(rows),
            charts.over_steps(rows, place["layer"]),
            charts.over_layers(rows, place["step"]),
        ]
        sizes = charts.over_sizes(study, place["level"], place["category"])
        drawn += [] if sizes is None else [sizes]
        lists = pages.levels(study), pages.categories(study, place["level"])
        return missing, lists, [chart.to_dict() for chart in drawn], pages.compared(study, place)

    measure("category", category)
    named = pages.named(study, place)

    def latent() -> Any:
        pages.missing(study, "category_presence", "named_latents", "latent_examples")
        one = study.latent(place["model"], place["step"], place["layer"], named["latent"][0], seed=place["seed"])
        return one, pages.random_beside(study, place, named["latent"][0])

    measure("latent", latent)
    measure(
        "claims",
        lambda: (
            pages.missing(study, "claims", "named_latents"),
            pages.claim_choices(study),
            pages.claims_table(study, {}),
        ),
    )
    measure("SAEs", lambda: charts.sae_quality(study.table("sae_metrics", model=place["model"])).to_dict())
    measure("checkpoints", lambda: study.checkpoints(place["model"]))
    return table
