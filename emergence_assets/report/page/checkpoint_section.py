"""Section about the checkpoints of the report: their sources, and the checkpoints that were left out, with reasons."""

import polars as pl

from emergence_assets.report.page.html_tables import Columns, html_table, integer, text, text_cell
from emergence_assets.report.page.sentences import number


def checkpoint_sentence(registry: pl.DataFrame) -> str:
    """Count the checkpoints, name their sources and the result of the identity rules."""
    if registry.is_empty():
        return "There is no registry of checkpoints yet."
    used = registry.filter(pl.col("on_time_axis"))
    admitted = registry.filter(pl.col("status") == "admitted")
    out = registry.filter(~pl.col("on_time_axis"))
    places = registry.filter(pl.col("location") != "")["location"].str.replace(r"/step\d+$", "").unique().sort()
    shown = ", ".join(places.head(3)) + (f" and {len(places) - 3} more places" if len(places) > 3 else "")
    models = registry["model"].n_unique()
    sentence = (
        f"{len(used)} checkpoints of {models} {'model' if models == 1 else 'models'}, from {shown}, were hashed, "
        "compared with each other and used."
    )
    if (alike := _least_alike(used)) is not None:
        sentence += f" The lowest cosine between the weights of neighbouring checkpoints is {number(alike)}."
    if out.is_empty():
        sentence += " None was left out"
        sentence += "." if len(admitted) else ": no two share weights, and all lie on the trajectory of their model."
    else:
        statuses = out.group_by("status", maintain_order=True).len()
        counts = ", ".join(f"{n} {status}" for status, n in statuses.iter_rows())
        sentence += (
            f" {len(out)} {'was' if len(out) == 1 else 'were'} left out of every curve ({counts}); see the table."
        )
    if models_made := sorted(registry.filter("made_here")["model"].unique()):
        sentence += (
            f" Step 0 of {', '.join(models_made)} was made here: the architecture of its config with random weights, "
            "not the weights from which its training began. Every claim about it has the failed control "
            "step0_made_here."
        )
    if len(admitted):
        names = ", ".join(f"{model} step {step}" for model, step in admitted.select("model", "step").iter_rows())
        sentence += f" Used although an identity rule failed, because the study file admits them: {names}."
    return sentence


def _least_alike(used: pl.DataFrame) -> float | None:
    """Find the lowest cosine between the weights of neighbouring steps of a run that are used; None without any."""
    rows = (
        used.filter(~pl.col("made_here"))
        .sort("model", "step")
        .with_columns(before=pl.col("step").shift(1).over("model"))
    )
    pairs = rows.select("before", other="cosine_steps", cosine="cosines").explode("other", "cosine")
    lowest = pairs.filter(pl.col("other") == pl.col("before"))["cosine"].min()
    return lowest if isinstance(lowest, float) else None


def checkpoint_table(registry: pl.DataFrame) -> str:
    """List the checkpoints that are left out, missing, admitted, or changed upstream; empty if there are none."""
    rows = registry.filter((pl.col("reason") != "") | (pl.col("upstream") != "")).sort("model", "step")
    if rows.is_empty():
        return ""
    columns: Columns = {
        "model": text("model"),
        "step": integer("step"),
        "status": text("status"),
        "reason": lambda row: text_cell("; ".join(part for part in (row["reason"], row["upstream"]) if part)),
        "revision": text("revision"),
        "commit": lambda row: (row["commit_sha"][:12], row["commit_sha"]),
    }
    title = "Checkpoints that were left out, were admitted, or changed upstream"
    return html_table(title, columns, rows.to_dicts(), "checkpoints-table")
