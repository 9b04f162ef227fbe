"""The probe set of a study, and the recipe that determines it."""

import functools
import json
from typing import TYPE_CHECKING, Any

from emergence_assets.plan.code_version import code_version
from emergence_assets.study.probe_set import WordNetProbes
from emergence_assets.study.study import Study
from resources.errors import EmergenceError
from resources.files.provenance import canonical_json

if TYPE_CHECKING:
    from emergence_assets.texts.probe_set import ProbeSet


def probe_recipe(study: Study) -> dict[str, Any] | None:
    """Return settings, source hash and code version of the probe set; None before its download.

    Raises:
        EmergenceError: the file of the probe set cannot be read.
    """
    from emergence_assets.texts.probe_download import probe_file, probe_file_sha256
    from emergence_assets.texts.wordnet import corpus

    settings = study.probe_set.model_dump()
    if isinstance(study.probe_set, WordNetProbes):
        source = corpus.corpus_sha256()
    elif (path := probe_file(settings)) is not None:
        source = probe_file_sha256(path)
    else:
        return None
    return {**settings, "source_sha256": source, "code": code_version("emergence_assets.texts.study_texts:probe_set")}


@functools.cache
def probe_set(declared: str) -> "ProbeSet":
    """Make a probe set from the JSON of its settings, once per process."""
    from emergence_assets.texts.category_maps import category_map
    from emergence_assets.texts.probe_download import probe_file
    from emergence_assets.texts.probe_set import table_probes, wordnet_probes

    settings = json.loads(declared)
    if settings["source"] == "wordnet":
        return wordnet_probes(settings["texts_per_category"], settings["seed"], settings["min_texts_per_category"])
    path = probe_file(settings)
    if path is None:
        raise EmergenceError(
            "The probe set is not downloaded yet.",
            where=settings["repository"],
            remedy="type `emergence probes` or `emergence run` to download it",
        )
    prompted = {name: settings[name] for name in ("template", "min_texts_per_category")}
    if settings["source"] == "mmlu":
        return table_probes(path, ["subject"], text_column="question", coarser=category_map("mmlu"), **prompted)
    return table_probes(
        path,
        settings["levels"],
        text_column=settings["text_column"],
        text_id_column=settings["text_id_column"],
        document_column=settings["document_column"],
        coarser=category_map(settings["category_map"]) if settings["category_map"] else None,
        **prompted,
    )


def study_probe_set(study: Study) -> "ProbeSet":
    """Return the probe set of a study.

    Raises:
        EmergenceError: the probe set is not downloaded, or cannot be read.
    """
    return probe_set(canonical_json(study.probe_set.model_dump()))


def download_probe_set(study: Study) -> None:
    """Download the probe set of a study if it comes from a hub and does not exist.

    Raises:
        EmergenceError: see `probe_download.fetch`.
    """
    from emergence_assets.texts.probe_download import fetch

    if not isinstance(study.probe_set, WordNetProbes):
        fetch(study.probe_set.model_dump(), lambda *_: None, offline=study.family.is_offline)
