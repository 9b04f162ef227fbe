"""`emergence export`: trained SAEs in the layouts that other libraries load, or the whole study as an RO-Crate."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from emergence_assets.cli.options import selecting, selection_of, study_plan

if TYPE_CHECKING:
    from emergence_assets.plan.plan import Plan


LAYOUT_NAMES = ("sae_lens", "sparsify", "dictionary_learning")
CRATE = "ro-crate"


@click.command()
@click.argument("target", metavar="FOLDER|FILE.zip", type=click.Path(path_type=Path))
@click.option(
    "--to", "layout", required=True, type=click.Choice((*LAYOUT_NAMES, CRATE)), help="Library or archive it is for."
)
@click.option("--include", multiple=True, metavar="ASSET", help="Of a crate: put in the files of this asset too.")
@click.option("--licence", default="", metavar="URL", help="Of a crate: licence of what is in it.")
@click.option("--seed", "seeds", type=int, multiple=True, help="Only this SAE seed; may be repeated.")
@selecting
def export(
    target: Path,
    layout: str,
    include: tuple[str, ...],
    licence: str,
    seeds: tuple[int, ...],
    models: tuple[str, ...],
    steps: tuple[int, ...],
    layers: tuple[int, ...],
    as_json: bool,
) -> None:
    """Write what others can read.

    For a library, SAEs go into FOLDER: a folder each, index.json, and a card; goes on where it stopped. As `ro-crate`,
    FILE.zip receives tables, claims, report, recipe and records of a finished study, with what was made from what.
    """
    plan = study_plan()
    if layout == CRATE:
        if models or steps or layers or seeds:
            raise click.UsageError("A crate is of the whole study: leave out --model, --step, --layer and --seed.")
        _export_crate(plan, target, include, licence, as_json)
        return
    if include or licence:
        raise click.UsageError("--include and --licence belong to --to ro-crate.")
    from emergence_assets.saes.exporting import export_saes

    written = export_saes(plan, selection_of(plan, models, steps, layers), seeds, layout, target)
    if as_json:
        click.echo(json.dumps(written, indent=2))
        return
    click.echo(f"{len(written)} SAEs for {layout} in {target}")


def _export_crate(plan: "Plan", path: Path, include: tuple[str, ...], licence: str, as_json: bool) -> None:
    from emergence_assets.audit.ro_crate import write_crate

    written = write_crate(plan, path, licence, include)
    if as_json:
        click.echo(json.dumps(written, indent=2))
        return
    click.echo(f"{written['cells']} cells, {written['with_files']} with their files, in {path}")
