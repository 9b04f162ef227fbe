"""Quality of the texts of a study for the command line: a table, warnings and sentences."""

from typing import Any, NamedTuple

import polars as pl

from emergence_assets.features.probe_quality.categories import CHANCES, probe_categories, warnings
from emergence_assets.features.probe_quality.power import N_CHECKPOINTS
from emergence_assets.features.probe_quality.tokens import read_texts
from emergence_assets.study.study import Study
from emergence_assets.texts.study_texts import download_probe_set, study_probe_set
from resources.files.storage import Storage


class ProbeReport(NamedTuple):
    """Quality of a probe set, before anything runs."""

    name: str
    n_texts: int
    n_units: int
    """Number of texts; copies of a text count once."""
    template: str
    read_out_token: str | None
    """Last token of all texts; None while no checkpoint of the family is on this machine."""
    categories: pl.DataFrame
    """See `probe_categories`."""
    warnings: list[str]

    def sentences(self) -> list[str]:
        """Describe the statistical power of the texts of each level."""
        used = self.categories.filter(reason="").group_by("category_level", maintain_order=True)
        return [_sentence(str(level), rows) for (level,), rows in used]

    def plain(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return self._asdict() | {"categories": self.categories.to_dicts(), "sentences": self.sentences()}


def probe_report(study: Study, storage: Storage) -> ProbeReport:
    """Evaluate the texts of a study; a probe set on a hub is downloaded.

    Raises:
        EmergenceError: the texts cannot be downloaded or read, or end in different tokens.
    """
    download_probe_set(study)
    probes = study_probe_set(study)
    read = read_texts(study, storage, probes)
    n_checkpoints = len(study.listed_steps or ()) or N_CHECKPOINTS
    table = probe_categories(probes, study.sae.n_latents, n_checkpoints, read.n_tokens if read else None)
    n_texts, n_units = len(probes.texts), probes.texts["unit"].n_unique()
    read_out, found = read.read_out_token if read else None, [*probes.notes, *warnings(table)]
    if "\\n" in probes.template:
        found.insert(0, "the template holds a backslash and an n; for a line break put it into double quotes")
    if read and len(read.n_tokens) < n_texts:
        found.insert(0, _not_read(n_texts - len(read.n_tokens), n_texts, study.family.context))
    return ProbeReport(probes.name, n_texts, n_units, probes.template, read_out, table, found)


def _not_read(n: int, n_texts: int, context: int) -> str:
    return (
        f"{n} of {n_texts} texts are not read: they have more than {context} tokens (family.context), or end in "
        "another token than the others"
    )


def _sentence(level: str, rows: pl.DataFrame) -> str:
    n, score, error, rise = (rows[name].median() for name in ("n_units", "n_score", "se_auroc", "min_rise"))
    found = (
        "no rise, because there are too few checkpoints"
        if rise is None
        else f"a rise of {rise:.2f} with probability 0.8"
    )
    chances = ", ".join(f"{rows[name].median():.2f} for {name[7:9]} % and {int(name[10:])} %" for name in CHANCES)
    return (
        f"{level}: with {n:.0f} different texts per category (median), {score:.0f} of them to score on, an AUROC of "
        f".75 has a standard error of {error:.3f}, and the study finds {found}. Probability that lift_fdr_v1 accepts a "
        f"latent, by the shares of the category's texts and of other texts on which it is active: {chances}"
    )
