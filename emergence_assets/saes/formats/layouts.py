"""Folder layouts of SAE libraries: write an SAE for a library, recognise and read an SAE of a library."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from emergence_assets.saes.formats import sae_lens, sparsify
from emergence_assets.saes.formats.dictionary_learning import write_dictionary_learning
from emergence_assets.saes.formats.files import CONFIG_NAME
from emergence_assets.saes.formats.folder import write_sae
from emergence_assets.saes.formats.folding import ForeignSAE, as_ours
from emergence_assets.saes.model.sae import SAE
from resources.errors import EmergenceError


class Layout(NamedTuple):
    """Folder layout of one library."""

    write: Callable[[Path, SAE, Mapping[str, Any]], None]
    read: Callable[[Path], tuple[ForeignSAE, dict[str, Any]]] | None = None
    """Reader; None if the folders hold pickles, which are never opened."""
    weights_name: str = ""
    """File of the weights beside `cfg.json`, in readable layouts."""


LAYOUTS = {
    "sae_lens": Layout(write_sae, sae_lens.read_sae_lens, sae_lens.WEIGHTS_NAME),
    "sparsify": Layout(sparsify.write_sparsify, sparsify.read_sparsify, sparsify.WEIGHTS_NAME),
    "dictionary_learning": Layout(write_dictionary_learning),
}
"""Layouts by name of the library."""
_READ = {name: layout for name, layout in LAYOUTS.items() if layout.read}
_PICKLES = {".pt", ".pth", ".bin", ".pkl", ".ckpt"}


def read_foreign_sae(
    folder: Path, layout: str | None = None, *, normalise_decoder: bool = False
) -> tuple[SAE, dict[str, Any]]:
    """Read an SAE of another library as an SAE that computes the same function.

    Args:
        folder: folder with `cfg.json` and a safetensors file.
        layout: a key of LAYOUTS; None recognises the layout by the files.
        normalise_decoder: divide the decoder rows of a top-k SAE by their lengths if these cannot be folded. The output
            then differs from that of its library as much as the lengths differ from one. sparsify normalises before
            each training step, but saves after the step.

    Returns:
        The SAE, float32, with decoder rows of unit length; and JSON values: `library`, `library_version` (or None),
        `architecture` by its library's name, `activation` as a description, `folded` with every conversion, and
        `model_name`, `hook_name` and similar values if the settings have them.

    Raises:
        EmergenceError: the layout is unknown, the folder is damaged, or the SAE has no equivalent in our conventions.
    """
    if layout is None:
        layout = recognised_layout(folder)
    read = _READ[layout].read if layout in _READ else None
    if read is None:
        raise EmergenceError(
            f"{layout!r:.80} is not a readable SAE layout",
            where=folder,
            remedy=f"choose from {', '.join(_READ)}",
        )
    foreign, metadata = read(folder)
    weights = folder / _READ[layout].weights_name
    sae, folded = as_ours(foreign, weights, normalise_decoder=normalise_decoder)
    return sae, {**metadata, "folded": folded}


def recognised_layout(folder: Path) -> str:
    """Return the name of the library of a folder, by its files.

    Raises:
        EmergenceError: the files fit no library, several libraries, or are only pickles.
    """
    names = _names(folder)
    found = [name for name, layout in _READ.items() if {CONFIG_NAME, layout.weights_name} <= names]
    if len(found) == 1:
        return found[0]
    if found:
        raise EmergenceError(
            f"SAE folder fits several layouts: {', '.join(found)}",
            where=folder,
            remedy="choose the layout to read",
        )
    pickles = sorted(name for name in names if Path(name).suffix in _PICKLES)
    if pickles:
        raise EmergenceError(
            f"SAE folder holds pickles, which can run any code when opened: {', '.join(pickles):.200}",
            where=folder,
            remedy="save the SAE as safetensors with the library that wrote it, in the layout of sae_lens or sparsify",
        )
    wanted = " or ".join(f"{CONFIG_NAME} with {layout.weights_name}" for layout in _READ.values())
    raise EmergenceError(
        f"not an SAE folder: it has no {wanted}",
        where=folder,
        remedy="choose the folder of an SAE, or a folder above",
    )


def find_foreign_saes(root: Path) -> list[Path]:
    """List all folders of SAEs at or below a root, sorted by path; links to folders are not followed.

    Raises:
        EmergenceError: the root is not a folder.
    """
    _names(root)
    weights_names = [layout.weights_name for layout in _READ.values()]
    folders = (path.parent for path in root.rglob(CONFIG_NAME))
    return sorted(folder for folder in folders if any((folder / name).is_file() for name in weights_names))


def _names(folder: Path) -> set[str]:
    try:
        return {path.name for path in folder.iterdir()}
    except OSError as error:
        raise EmergenceError(
            f"SAE folder cannot be read: {error}", where=folder, remedy="choose a readable folder"
        ) from error
