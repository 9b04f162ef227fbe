"""Labels and texts of the probe set in the order of the read-outs."""

import functools
from pathlib import Path
from typing import Any

from emergence_assets.texts.study_texts import probe_set


@functools.cache
def cell_labels(probes: str, tokens_file: Path) -> tuple[Any, ...]:
    """Make the labels of the probe texts, one per level, in the order of the read-outs; once per process."""
    import polars as pl

    from emergence_assets.features.statistics.labels import Labels

    declared = probe_set(probes)
    texts = probe_texts(probes, tokens_file)
    is_select = (texts["split"] == "select").to_numpy()
    units = {unit: number for number, unit in enumerate(declared.texts["unit"].unique().sort())}
    unit_p = texts["unit"].replace_strict(units, return_dtype=pl.Int64).to_numpy()
    return tuple(
        Labels.from_values(level, texts[level].to_list(), is_select, unit_p, len(units)) for level in declared.levels
    )


@functools.cache
def cell_texts(probes: str, tokens_file: Path) -> Any:
    """Find length and words of the probe texts, in the order of the read-outs; once per process."""
    from emergence_assets.features.statistics.categorical_latents import TextFacts

    texts = probe_texts(probes, tokens_file)
    return TextFacts.of(texts["text_id"].to_list(), texts["text"].to_list())


def probe_texts(probes: str, tokens_file: Path) -> Any:
    """Return texts and labels in the order of the read-outs."""
    import polars as pl

    from emergence_assets.texts.tokens import known_tokens

    order = pl.DataFrame({"text_id": list(known_tokens(tokens_file).probe_text_id)})
    return order.join(probe_set(probes).texts, on="text_id", how="left", maintain_order="left")
