"""SAEs that other libraries wrote, as ours."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from emergence_assets.saes.formats import sae_lens as foreign_sae_lens
from emergence_assets.saes.formats import sparsify as foreign_sparsify
from emergence_assets.saes.formats.folding import ForeignSAE, as_ours
from emergence_assets.saes.model.sae import SAE
from resources.errors import EmergenceError

CONFIG_NAME = "cfg.json"
FOREIGN_LAYOUTS: dict[str, tuple[str, Callable[[Path], tuple[ForeignSAE, dict[str, Any]]]]] = {
    "sae_lens": (foreign_sae_lens.WEIGHTS_NAME, foreign_sae_lens.read_sae_lens),
    "sparsify": (foreign_sparsify.WEIGHTS_NAME, foreign_sparsify.read_sparsify),
}
"""Name of the library to its file of weights, and what reads its folders."""
_PICKLES = {".pt", ".pth", ".bin", ".pkl", ".ckpt"}


def read_foreign_sae(
    folder: Path, layout: str | None = None, *, normalise_decoder: bool = False
) -> tuple[SAE, dict[str, Any]]:
    """The SAE in a folder that another library wrote, computing what that library computes, and where it comes from.

    Args:
        folder: with `cfg.json` and a safetensors file.
        layout: a name in FOREIGN_LAYOUTS; None recognises it by the files.
        normalise_decoder: divide the decoder rows of a top-k SAE by their lengths where these cannot be folded.
            Its output then differs from that of its library as much as the lengths do from one. sparsify does so before
            each step of training, but saves after the step.

    Returns:
        The SAE, float32, decoder rows of unit length; and JSON values: `library`, `library_version` (None if not said),
        `architecture` by its library's name, `activation` in words, `folded` with what was rewritten, and what the
        settings say of `model_name`, `hook_name` and the like.

    Raises:
        EmergenceError: the folder is of no known layout, damaged, or of an SAE that ours cannot express.
    """
    if layout is None:
        layout = recognised_layout(folder)
    if layout not in FOREIGN_LAYOUTS:
        raise EmergenceError(
            f"no layout of SAEs is called {layout!r:.80}",
            where=folder,
            remedy=f"choose from {', '.join(FOREIGN_LAYOUTS)}",
        )
    weights_name, read = FOREIGN_LAYOUTS[layout]
    foreign, metadata = read(folder)
    sae, folded = as_ours(foreign, folder / weights_name, normalise_decoder=normalise_decoder)
    return sae, {**metadata, "folded": folded}


def recognised_layout(folder: Path) -> str:
    """Name of the library whose files a folder has.

    Raises:
        EmergenceError: files of none, of several, or pickles only.
    """
    names = _names(folder)
    found = [layout for layout, (weights_name, _) in FOREIGN_LAYOUTS.items() if {CONFIG_NAME, weights_name} <= names]
    if len(found) == 1:
        return found[0]
    if found:
        raise EmergenceError(
            f"SAE folder is of several layouts at once: {', '.join(found)}", where=folder, remedy="say which to read"
        )
    pickles = sorted(name for name in names if Path(name).suffix in _PICKLES)
    if pickles:
        raise EmergenceError(
            f"SAE folder holds pickles, which can run any code when opened: {', '.join(pickles):.200}",
            where=folder,
            remedy="save the SAE as safetensors with the library that wrote it, as sae_lens or sparsify lay it out",
        )
    wanted = " or ".join(f"{CONFIG_NAME} with {weights_name}" for weights_name, _ in FOREIGN_LAYOUTS.values())
    raise EmergenceError(
        f"not a folder of an SAE, it has no {wanted}",
        where=folder,
        remedy="name the folder of one SAE, or a folder above",
    )


def find_foreign_saes(root: Path) -> list[Path]:
    """All folders of SAEs at or below a root, sorted by path; links to folders are not followed.

    Raises:
        EmergenceError: the root is not a folder.
    """
    _names(root)
    weights_names = [weights_name for weights_name, _ in FOREIGN_LAYOUTS.values()]
    folders = (path.parent for path in root.rglob(CONFIG_NAME))
    return sorted(folder for folder in folders if any((folder / name).is_file() for name in weights_names))


def _names(folder: Path) -> set[str]:
    try:
        return {path.name for path in folder.iterdir()}
    except OSError as error:
        raise EmergenceError(
            f"SAE folder cannot be read: {error}", where=folder, remedy="name a folder that exists and can be read"
        ) from error
