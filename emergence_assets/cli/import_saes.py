"""`emergence import`: SAEs that others trained, in place of the study's own."""

from pathlib import Path

import click

from emergence_assets.cli.options import as_json_option, open_study, show
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
@as_json_option
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

    plan = open_study()
    selection = parse_selection(plan.study, [model], [step], [] if layer is None else [layer])
    if remove:
        removed = forget_imported(plan, selection, [] if seed is None else [seed])
        show(removed, as_json, f"{len(removed)} imported SAEs removed")
        return
    if folder is None:
        raise EmergenceError("No folder is named.", remedy="name one: emergence import FOLDER --model … --step …")
    place = Place(model, step, layer, seed)
    taken = import_saes(plan, folder, place, layout, normalise_decoder=normalise_decoder)
    lines = []
    for one in taken:
        lines.append(f"{one['cell']} seed {one['seed']}: {one['library']} {one['architecture']} from {one['from']}")
        lines += [f"  note: {note}" for note in one["notes"]]
    show(taken, as_json, *lines, "type `emergence run` to measure them and what follows from them")
