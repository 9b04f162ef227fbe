"""When, where and from what size on a category of knowledge has interpretable features of its own.

The public interface for notebooks and scripts (docs/python.md):

    import emergence_assets as ea
    study = ea.open_study("default", data="data")

Everything else is reached from there, or by the command `emergence`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emergence_assets.api.layer_activations import LayerActivations
    from emergence_assets.api.study_latent import StudyLatent
    from emergence_assets.api.study_results import StudyResults, open_study
    from emergence_assets.api.study_sae import StudySAE
    from resources.errors import EmergenceError

__all__ = ["EmergenceError", "LayerActivations", "StudyLatent", "StudyResults", "StudySAE", "open_study"]
_MODULES = {
    "EmergenceError": "resources.errors",
    "LayerActivations": "emergence_assets.api.layer_activations",
    "StudyLatent": "emergence_assets.api.study_latent",
    "StudyResults": "emergence_assets.api.study_results",
    "StudySAE": "emergence_assets.api.study_sae",
    "open_study": "emergence_assets.api.study_results",
}


def __getattr__(name: str) -> Any:
    # Imported when it is used: the command line imports this package too, and polars takes a third of a second.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_MODULES[name]), name)
