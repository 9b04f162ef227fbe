"""Quality of the texts of a study for the command line: a table, warnings and sentences."""

from typing import Any, NamedTuple

import polars as pl

from emergence_assets.features.probe_quality.categories import CHANCES, probe_categories, warnings
from emergence_assets.features.probe_quality.power import N_CHECKPOINTS
from emergence_assets.study.study import Study
from emergence_assets.texts.probe_set import ProbeSet
from emergence_assets.texts.study_texts import download_probe_set, study_probe_set
from emergence_assets.texts.tokenising import tokenise
from emergence_assets.texts.wordnet import corpus


class ProbeReport(NamedTuple):
    """Quality of a probe set, before anything runs."""

    name: str
    n_texts: int
    n_units: int
    """Number of texts; copies of a text count once."""
    template: str
    read_out_token: str | None
    """Last token of all texts; None if the tokenizer of the family is not available."""
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


def probe_report(study: Study) -> ProbeReport:
    """Evaluate the texts of a study; a probe set on a hub is downloaded.

    Raises:
        EmergenceError: the texts cannot be downloaded or read, or end in different tokens.
    """
    download_probe_set(study)
    probes = study_probe_set(study)
    n_tokens, read_out = _tokens(study, probes) if study.family.trained_here else (None, None)
    n_checkpoints = len(study.listed_steps or ()) or N_CHECKPOINTS
    table = probe_categories(probes, study.sae.n_latents, n_checkpoints, n_tokens)
    n_units = probes.texts["unit"].n_unique()
    return ProbeReport(probes.name, len(probes.texts), n_units, probes.template, read_out, table, warnings(table))


def _tokens(study: Study, probes: ProbeSet) -> tuple[dict[str, int], str]:
    """Count the tokens of every text that is read, and decode the last token, with the tokenizer of the project."""
    from tokenizers import Tokenizer

    tokens = tokenise(corpus.TOKENIZER_PATH, probes.texts, probes.texts, study.family.context, "read_out")
    counts = {name: len(ids) for name, ids in zip(tokens.probe_text_id, tokens.probe_ids, strict=True)}
    tokenizer = Tokenizer.from_file(str(corpus.TOKENIZER_PATH))
    return counts, tokenizer.decode([int(tokens.probe_ids[0][-1])], skip_special_tokens=False)


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
