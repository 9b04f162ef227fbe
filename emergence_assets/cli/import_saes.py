"""`emergence import`: SAEs trained elsewhere, in place of the SAEs of the study."""

from pathlib import Path

import click

from emergence_assets.cli.options import as_json_option, open_study, show
from resources.errors import EmergenceError


@click.command("import")
@click.argument("folder", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--model", required=True, help="Model of the study on which the SAEs were trained.")
@click.option("--step", required=True, type=int, help="Training step of the model.")
@click.option("--layer", type=int, help="Layer of a single SAE; by default read from its hook point.")
@click.option("--seed", type=int, help="SAE seed to replace; by default the first seed of the study.")
@click.option("--from", "layout", type=click.Choice(["sae_lens", "sparsify"]), help="Library that wrote the SAEs.")
@click.option(
    "--normalise-decoder",
    is_flag=True,
    help="Divide decoder rows by their norms where the norms cannot be folded, as sparsify does in training.",
)
@click.option("--remove", is_flag=True, help="Remove imported SAEs; the study trains its own again.")
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
    """Import SAEs from FOLDER and its subfolders, in place of the SAEs of the study at a step of a model.

    Imported SAEs must have the n_latents and k of the study, and are measured like its own SAEs by `emergence run`.
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
    imported = import_saes(plan, folder, place, layout, normalise_decoder=normalise_decoder)
    lines = []
    for one in imported:
        lines.append(f"{one['cell']} seed {one['seed']}: {one['library']} {one['architecture']} from {one['from']}")
        lines += [f"  note: {note}" for note in one["notes"]]
    show(imported, as_json, *lines, "type `emergence run` to measure them and update all results")
