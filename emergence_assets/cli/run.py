"""`emergence run`: make all stale or missing cells, then print the headline."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TextIO

import click

from emergence_assets.cli.options import as_json_option, open_study, show, table, warning
from resources.errors import require_known

if TYPE_CHECKING:
    from rich.table import Table


@click.command()
@click.option("--stage", "stages", multiple=True, metavar="STAGE", help="Only this stage; may be repeated.")
@click.option(
    "--device", metavar="auto|cpu|cuda:N|spread", help="Device to compute on; default: EMERGENCE_DEVICE, else auto."
)
@click.option(
    "--on",
    metavar="local|ray[:HOST:PORT]",
    help="What runs the tasks: this machine or a Ray cluster; default: EMERGENCE_COMPUTE, else local.",
)
@click.option("--workers", type=click.IntRange(min=1), help="Worker processes; default: one per core or GPU.")
@click.option("--openlineage", metavar="URL", help="Receiver of OpenLineage events; default: OPENLINEAGE_URL.")
@click.option("--again", is_flag=True, help="Make cells anew that failed a blocking check.")
@as_json_option
def run(
    stages: tuple[str, ...],
    device: str | None,
    on: str | None,
    workers: int | None,
    openlineage: str | None,
    again: bool,
    as_json: bool,
) -> None:
    """Make all stale or missing cells, then print the headline and the path of the report."""
    import sys
    import time

    from rich.console import Console

    from emergence_assets.cli.progress import Display
    from emergence_assets.orchestration.build import STAGES
    from emergence_assets.orchestration.session import run_and_summarise

    began = time.monotonic()
    if device:
        os.environ["EMERGENCE_DEVICE"] = device
    if on:
        os.environ["EMERGENCE_COMPUTE"] = on
    if workers:
        os.environ["EMERGENCE_WORKERS"] = str(workers)
    plan = open_study()
    require_known("stage", stages, STAGES)
    with Display(Console(file=_own_stream(sys.stderr if as_json else sys.stdout))) as display:
        result = run_and_summarise(plan, display, stages or None, openlineage, again=again)
    lines = [warning(text) for text in (*result["left_out"], *result["warnings"])]
    lines += [warning(f"probe texts: {text}") for text in result["text_warnings"]]
    report = []
    if "report" in result:
        report = [_headline(result["headline"], result["level"]), f"report: {result['report']}"]
        lines += [warning(text) for text in _without_step_0(result["headline"])]
    show(result, as_json, *lines, *report, f"finished in {time.monotonic() - began:.0f} s")


def _own_stream(stream: TextIO) -> TextIO:
    """Reopen a stream under a new descriptor, because Dagster redirects the standard descriptors during a run."""
    return os.fdopen(os.dup(stream.fileno()), "w", encoding="utf-8", buffering=1)


def _without_step_0(rows: list[Mapping[str, Any]]) -> list[str]:
    """Name the models whose first checkpoint is no untrained network, so that their rise is none since step 0."""
    first = {row["model"]: row["step_first"] for row in rows if row["step_first"]}
    return [
        f"{model} begins at step {step}: what it had before is not known, and nothing can be claimed to emerge"
        for model, step in first.items()
    ]


def _headline(rows: list[Mapping[str, Any]], level: str) -> "Table":
    """Make the headline: the level of the report, smallest model first, the measurement beside its controls."""
    measured = [row for row in rows if row["control_id"] == "none" and row["category_level"] == level]
    return table(
        ("model", "best latent", "random", "net rise [95 %]", "dense"),
        [
            (
                row["model"],
                f"{row['p_first']:.3f} to {row['p_last']:.3f}",
                f"{row['p_random_first']:.3f} to {row['p_random_last']:.3f}",
                f"{row['net_rise']:+.3f} [{row['net_rise_lo']:.3f}, {row['net_rise_hi']:.3f}]",
                f"{row['p_dense_last']:.3f}",
            )
            for row in sorted(measured, key=lambda row: row["n_params_nonemb"])
        ],
        f"AUROC of the best latent and the best random direction, first to last step: mean over "
        f"{measured[0]['n_categories']} categories and all layers. Bag of words {measured[0]['p_bow']:.3f}, "
        f"permuted labels {measured[0]['p_shuffle']:.3f}.",
    )
