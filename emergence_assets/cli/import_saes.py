"""`emergence import`: SAEs that others trained, in place of the study's own."""

import json
from pathlib import Path

import click

from emergence_assets.cli.options import study_plan
from resources.errors import EmergenceError


@click.command("import")
@click.argument("folder", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--model", required=True, help="Model of the study that they were trained on.")
@click.option("--step", required=True, type=int, help="Its training step.")
@click.option("--layer", type=int, help="Layer of a single SAE; by default read from its hook point.")
@click.option("--seed", type=int, help="SAE seed whose place it takes; by default the study's first.")
@click.option("--from", "layout", type=click.Choice(["sae_lens", "sparsify"]), help="Library that wrote it.")
@click.option(
    "--normalise-decoder",
    is_flag=True,
    help="Divide decoder rows by their lengths where these cannot be folded, as sparsify does in training.",
)
@click.option("--remove", is_flag=True, help="Forget what was imported there: the study trains its own again.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def import_saes_command(
    folder: Path | None,
    model: str,
    step: int,
    layer: int | None,
    seed: int | None,
    layout: str | None,
    normalise_decoder: bool,
    remove: bool,
    as_json: bool,
) -> None:
    """Take SAEs in FOLDER, or below it, in place of the study's own at a step of a model.

    They have to be of the study's design (n_latents, k) and are measured as its own are. `emergence run` does the rest.
    """
    from emergence_assets.plan.selection import parse_selection
    from emergence_assets.saes.importing import Place, forget_imported, import_saes

    plan = study_plan()
    selection = parse_selection(plan.study, [model], [step], [] if layer is None else [layer])
    if remove:
        removed = forget_imported(plan, selection, [] if seed is None else [seed])
        click.echo(json.dumps(removed, indent=2) if as_json else f"{len(removed)} imported SAEs removed")
        return
    if folder is None:
        raise EmergenceError("No folder is named.", remedy="name one: emergence import FOLDER --model … --step …")
    place = Place(model, step, layer, seed)
    taken = import_saes(plan, folder, place, layout, normalise_decoder=normalise_decoder)
    if as_json:
        click.echo(json.dumps(taken, indent=2))
        return
    for one in taken:
        click.echo(f"{one['cell']} seed {one['seed']}: {one['library']} {one['architecture']} from {one['from']}")
        for note in one["notes"]:
            click.echo(f"  note: {note}")
    click.echo("type `emergence run` to measure them and what follows from them")
