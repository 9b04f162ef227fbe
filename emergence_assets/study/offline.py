"""Whether a model hub may be asked."""

import os

from emergence_assets.study.family import Family, Hub

PINNED_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
"""Environment variables by which users of hubs say that there is no network."""
_YES = ("1", "ON", "YES", "TRUE")
"""As huggingface_hub reads them, which refuses to ask when they are set."""


def is_offline(family: Family) -> bool:
    """Whether no hub may be asked: the study says so, or the environment does."""
    stated = isinstance(family, Hub) and family.offline
    return stated or any(os.environ.get(name, "").upper() in _YES for name in PINNED_OFFLINE)
