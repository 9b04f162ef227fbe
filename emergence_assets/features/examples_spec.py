"""The asset `latent_examples`: latents to look at, a table per model, step and layer."""

from dataclasses import replace

from emergence_assets.activations.spec import by_checkpoint, capture_arguments, checkpoint_fetch
from emergence_assets.features.examples_table import LATENT_EXAMPLES as TABLE
from emergence_assets.features.examples_table import NAMED_LATENTS
from emergence_assets.features.spec import sections
from emergence_assets.plan.asset_spec import Due, Job
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.plan import Plan
from emergence_assets.plan.table_inputs import table_path
from emergence_assets.plan.table_spec import table_job, table_spec
from emergence_assets.plan.text_counts import TextCounts
from emergence_assets.study.study import Study
from resources.files.provenance import canonical_json
from resources.tables.check import Check, between

SHOW_ALL, SHOW = (f"emergence_assets.features.examples.worker:{name}" for name in ("show_checkpoint", "show_cell"))
NAMED_PER_CATEGORY, LATENT_BYTES, FILE_BYTES = 0.35, 940.0, 8000.0
"""Named latents of a dictionary per category, since one latent is the best of several; bytes of a latent with its eight
examples, and of both files without any. Measured on the studies quick and default, 2026-12-01."""


def _jobs(plan: Plan, due: Due) -> list[Job]:
    """List one job per checkpoint: one forward pass serves all its layers."""
    jobs = []
    for checkpoint, cells in by_checkpoint(due).items():
        work = []
        for cell, required in cells.items():
            outputs = [(table, table_path(plan.storage, table, cell)) for table in (NAMED_LATENTS, TABLE)]
            settings = {"settings_of_cell": dict(required.recipe)}
            work.append(table_job(plan, LATENT_EXAMPLES, cell, required, SHOW, outputs, str(cell), settings).arguments)
        arguments = {
            "origin": capture_arguments(plan, checkpoint),
            "probes": canonical_json(plan.study.probe_set.model_dump()),
            "work": work,
        }
        jobs.append(Job(arguments, tuple(cells), str(checkpoint), checkpoint_fetch(plan, checkpoint)))
    return jobs


def _n_bytes(study: Study, _cell: Cell, counts: TextCounts) -> float:
    """Predict the bytes, from the categories and the dictionaries: one per SAE seed, and one random encoder."""
    n_latents = NAMED_PER_CATEGORY * (len(study.sae.seeds) + 1) * len(counts.category_sizes)
    return FILE_BYTES + LATENT_BYTES * n_latents


LATENT_EXAMPLES = replace(
    table_spec(
        TABLE,
        ("checkpoint", "activations", "sae", "latent_stats"),
        SHOW,
        stage="features",
        grid="cell",
        recipe=sections("statistics", "probe_set", "sae"),
        checks=(
            Check(
                "examples_are_those_of_the_read_outs",
                "The activation at the last token of an example is that of the stored read-out, but for rounding: of "
                "99 % of the examples they differ by at most 1 %.",
                (between("unlike_read_outs", 0, 0.01),),
            ),
        ),
        beside=(NAMED_LATENTS,),
        on_accelerator=True,
        n_bytes=_n_bytes,
        cells_per_run=300,
    ),
    make=SHOW_ALL,
    functions=(SHOW_ALL, SHOW),
    jobs=_jobs,
)
