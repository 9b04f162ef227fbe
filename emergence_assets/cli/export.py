"""`emergence export`: SAEs and their latents for other programs, or the whole study as an RO-Crate."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from emergence_assets.cli.options import cells_options, show

if TYPE_CHECKING:
    from emergence_assets.plan.plan import Plan
    from emergence_assets.plan.selection import Selection

LAYOUT_NAMES = ("sae_lens", "sparsify", "dictionary_learning")
DASHBOARDS = "sae_dashboard"
CRATE = "ro-crate"


@click.command()
@click.argument("target", metavar="FOLDER|FILE.zip", type=click.Path(path_type=Path))
@click.option(
    "--to",
    "layout",
    required=True,
    type=click.Choice((*LAYOUT_NAMES, DASHBOARDS, CRATE)),
    help="Library, dashboard or archive that reads the files.",
)
@click.option("--include", multiple=True, metavar="ASSET", help="For ro-crate: include the files of this asset too.")
@click.option("--licence", default="", metavar="URL", help="For ro-crate: licence of the contents.")
@click.option("--seed", "seeds", type=int, multiple=True, help="Only this SAE seed; may be repeated.")
@cells_options
def export(
    plan: "Plan",
    selection: "Selection",
    target: Path,
    layout: str,
    include: tuple[str, ...],
    licence: str,
    seeds: tuple[int, ...],
    as_json: bool,
) -> None:
    """Export SAEs for another library, their latents for a dashboard, or the whole study as an RO-Crate.

    For a library, SAEs go to FOLDER: a folder per SAE, index.json and a card; a second call continues. As
    `sae_dashboard`, the named latents of each SAE go there, with names, texts and tokens, as SAEDashboard writes them
    for Neuronpedia. As `ro-crate`, FILE.zip receives tables, claims, report, settings and records of a finished study,
    with the inputs of each result.
    """
    if layout == CRATE:
        if not selection.is_everything or seeds:
            raise click.UsageError("A crate contains the whole study: leave out --model, --step, --layer and --seed.")
        from emergence_assets.audit.ro_crate import write_crate

        crate = write_crate(plan, target, licence, include)
        show(crate, as_json, f"{crate['cells']} cells, {crate['with_files']} with their files, in {target}")
        return
    if include or licence:
        raise click.UsageError("--include and --licence belong to --to ro-crate.")
    if layout == DASHBOARDS:
        from emergence_assets.features.dashboard_export import export_dashboards

        described = export_dashboards(plan, selection, seeds, target)
        n_latents = sum(entry["latents"] for entry in described)
        show(described, as_json, f"{n_latents} latents of {len(described)} SAEs for {layout} in {target}")
        return
    from emergence_assets.saes.exporting import export_saes

    written = export_saes(plan, selection, seeds, layout, target)
    show(written, as_json, f"{len(written)} SAEs for {layout} in {target}")
