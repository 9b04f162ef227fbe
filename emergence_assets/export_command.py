"""`emergence export`: trained SAEs in the layouts that other libraries load."""

import json
from pathlib import Path

import click

from emergence_assets.cell_options import selecting, selection_of, study_plan

LAYOUT_NAMES = ("sae_lens", "sparsify", "dictionary_learning")


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--to", "layout", required=True, type=click.Choice(LAYOUT_NAMES), help="Library that is to load them.")
@click.option("--seed", "seeds", type=int, multiple=True, help="Only this SAE seed; may be repeated.")
@selecting
def export(
    folder: Path,
    layout: str,
    seeds: tuple[int, ...],
    models: tuple[str, ...],
    steps: tuple[int, ...],
    layers: tuple[int, ...],
    as_json: bool,
) -> None:
    """Write SAEs into FOLDER for another library: a folder each, index.json, and a card. Goes on where it stopped."""
    from emergence_assets.sae_export import export_saes

    plan = study_plan()
    written = export_saes(plan, selection_of(plan, models, steps, layers), seeds, layout, folder)
    if as_json:
        click.echo(json.dumps(written, indent=2))
        return
    click.echo(f"{len(written)} SAEs for {layout} in {folder}")
