"""Claims about depth: where presence peaks, and that a category fades in some layers and returns in later ones."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from emergence_assets.emergence.claims.claim import Claim, above, below, seeds_agree, subject
from emergence_assets.emergence.claims.grading import ONE_RUN, Control

MAX_SPREAD = 0.5
"""Largest share of the layers in a peak's interval at which its place may be stated."""
_WHERE_SHOWN = {
    "representational": ": shown for the SAEs and the dense probe",
    "allocation": ": shown for the SAEs, not for the dense probe",
    "geometric": ": random directions do the same",
}
"""End of a statement by `verdict`: where the drop and return is shown."""


def claims_of_depth(space: pl.DataFrame) -> list[Claim]:
    """State per model and level, for the mean over categories at the last step, the layer with the largest gain.

    Args:
        space: `emergence_over_space`.
    """
    rows = _last(space).filter(pl.col("aggregate") == "mean", pl.col("control_id") == "none", pl.col("n_layers") > 2)
    shuffled = {_key(row): row["max_gain_lo"] for row in _last(space, "label_shuffle").iter_rows(named=True)}
    claims = []
    for row in rows.iter_rows(named=True):
        first, last = _layers(row)
        is_placed = row["peak_depth_lo"] is not None and last - first + 1 <= MAX_SPREAD * row["n_layers"]
        claims.append(
            Claim(
                kind="depth",
                statement=f"In {row['model']} at step {row['step']:,}, the gain in presence of {subject(row)} is "
                f"largest in {f'layer {first}' if first == last else f'one of layers {first} to {last}'} "
                f"(of layers 0 to {row['n_layers'] - 1}).",
                estimate=row["peak_depth"],
                interval=(row["peak_depth_lo"], row["peak_depth_hi"]),
                unit="relative depth",
                q=None,
                passes_gate=is_placed,
                controls=(
                    Control("step0", above(row["max_gain_lo"])),
                    Control("label_shuffle", _not(above(shuffled.get(_key(row))))),
                    Control("one_layer", first == last, must=False),
                    Control("one_mode", None if row["n_modes"] is None else row["n_modes"] <= 1, must=False),
                    ONE_RUN,
                ),
                inputs=(f"emergence_over_space {row['model']}",),
                figure="gain_by_layer",
                layer=row["peak_layer"],
                **_where(row),
            )
        )
    return claims


def claims_of_reactivation(reactivation: pl.DataFrame, mechanism: pl.DataFrame, level: str) -> list[Claim]:
    """State per model and category at the last step that presence fades over the layers and returns.

    Args:
        reactivation: `reactivation`; rows with verdict "insufficient" give no claim.
        mechanism: `reactivation_mechanism`; source of the control `ablation`.
        level: the primary label level; other levels have claims about means only.
    """
    rows = _last(reactivation).filter(
        pl.col("control_id") == "none",
        pl.col("verdict") != "insufficient",
        (pl.col("category_level") == level) | (pl.col("aggregate") == "mean"),
    )
    shuffled = {_key(row): row["passes_gate"] for row in _last(reactivation, "label_shuffle").iter_rows(named=True)}
    depends = {
        (row["model"], row["category_level"], row["category"]): above(row["cdi_excess_lo"])
        for row in mechanism.iter_rows(named=True)
    }
    claims = []
    for row in rows.iter_rows(named=True):
        controls = (
            Control("fdr", below(row["q"])),
            Control("sae_seed", seeds_agree(row["n_seeds_agree"], row["n_seeds"])),
            Control("label_shuffle", _not(shuffled.get(_key(row)))),
            Control("dip_test", below(row["dip_p"]), must=False),
            Control("random_encoder", None if row["random_drop"] is None else row["verdict"] != "geometric"),
            Control("dense", row["verdict"] == "representational", must=False),
            Control("ablation", depends.get((row["model"], row["category_level"], row["category"])), must=False),
            ONE_RUN,
        )
        claims.append(
            Claim(
                kind="reactivation",
                statement=f"In {row['model']} at step {row['step']:,}, presence of {subject(row)} fades at "
                f"{_percent(row['valley_depth'])} of the depth and returns at {_percent(row['return_depth'])}"
                f"{_WHERE_SHOWN.get(row['verdict'], '')}.",
                estimate=row["ri"],
                interval=(row["ri_lo"], row["ri_hi"]),
                unit="reactivation index",
                q=row["q"],
                passes_gate=row["passes_gate"],
                controls=controls,
                inputs=(f"reactivation {row['model']}", f"reactivation_mechanism {row['model']}"),
                figure="reactivation",
                **_where(row),
            )
        )
    return claims


def _percent(depth: float | None) -> str:
    return "an unknown part" if depth is None else f"{100 * depth:.0f} %"


def _layers(row: Mapping[str, Any]) -> tuple[int, int]:
    """Return the first and last layer of the interval of a peak; the peak layer twice if there is no interval."""
    if row["peak_depth_lo"] is None:
        return row["peak_layer"], row["peak_layer"]
    low, high = (round(row[name] * row["n_layers"]) - 1 for name in ("peak_depth_lo", "peak_depth_hi"))
    return min(low, row["peak_layer"]), max(high, row["peak_layer"])


def _last(table: pl.DataFrame, control: str = "none") -> pl.DataFrame:
    """Return the rows of one control at every model's last step."""
    return table.filter(pl.col("step") == pl.col("step").max().over("model"), pl.col("control_id") == control)


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["model"], row["category_level"], row["category"]


def _not(value: bool | None) -> bool | None:
    return None if value is None else not value


def _where(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("model", "category_level", "category", "step")}
