"""The emergence tables of one model as cells: sae_metrics, presence, time, space and reactivation."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from emergence_assets.activations.cells import probe_recipe, probe_set, stored_tokens_file
from emergence_assets.emergence.table_cells import key_columns, key_literals, table_rule, write_cell
from emergence_assets.features.cells import cell_labels, presence_cells_path
from emergence_assets.features.table_sizes import N_CONTROLS, presence_bytes
from emergence_assets.plan import Cell, Plan, Rule
from emergence_assets.provenance import Required, canonical_json
from emergence_assets.saes.cells import METRICS_NAME, SAE
from emergence_assets.study import Study
from emergence_assets.text_counts import TextCounts
from resources.compute import Task
from resources.records import required_to_json
from resources.storage import Storage
from resources.tables import read_table

METRICS_TABLE_BYTES = 45_000
"""Of sae_metrics."""
TIME_TABLE_BYTES, TIME_ROW_BYTES = 24_000, 95.0
"""Of emergence_over_time: what 65 columns take without rows, and a row."""
HAZARD_TABLE_BYTES, HAZARD_GAP_BYTES = 6_000, 60.0
"""Of emergence_hazard: without rows, and the rows of a gap between checkpoints."""
SPACE_ROW_BYTES, SPACE_LAYER_BYTES = 59, 8
"""Of a profile over layers: a row, and what each layer adds to it; of compressed parquet, as below."""
REACTIVATION_ROW_BYTES, EMPTY_ROW_BYTES = 124, 50
"""Of a row about the thirds of the depth, and of one without a layer in the middle."""


def _probes(study: Study, _storage: Storage, _cell: Cell) -> Mapping[str, Any]:
    return {"probe_set": probe_recipe(study), "n_shuffles": study.statistics.n_shuffles}


def _metrics_bytes(_study: Study, _cell: Cell, _counts: TextCounts) -> float:
    return METRICS_TABLE_BYTES


def _presence_bytes(study: Study, cell: Cell, counts: TextCounts) -> float:
    """A cell's share is as large as its presence table of one seed, and a value per seed more; all steps and layers."""
    n_cells = len(study.listed_steps or ()) * len(study.layers_of(str(cell.model)))
    return n_cells * presence_bytes(
        len(counts.category_sizes), study.statistics.n_bootstrap + len(study.sae.seeds), n_seeds=1
    )


def _time_bytes(study: Study, cell: Cell, counts: TextCounts) -> float:
    """A row per series: layers and the best of them again, measurement and shuffled labels, categories and means."""
    n_layers = len(study.layers_of(str(cell.model))) + 1
    return TIME_TABLE_BYTES + TIME_ROW_BYTES * N_CONTROLS * n_layers * len(counts.category_sizes)


def _hazard_bytes(study: Study, _cell: Cell, _counts: TextCounts) -> float:
    return HAZARD_TABLE_BYTES + HAZARD_GAP_BYTES * len(study.listed_steps or ())


def _profile_rows(study: Study, counts: TextCounts) -> int:
    """A row per checkpoint and category of a model, for the measurement and for shuffled labels."""
    return len(study.listed_steps or ()) * N_CONTROLS * len(counts.category_sizes)


def _space_bytes(study: Study, cell: Cell, counts: TextCounts) -> float:
    n_layers = len(study.layers_of(str(cell.model)))
    return _profile_rows(study, counts) * (SPACE_ROW_BYTES + SPACE_LAYER_BYTES * n_layers)


def _reactivation_bytes(study: Study, cell: Cell, counts: TextCounts) -> float:
    has_middle = len(study.layers_of(str(cell.model))) > 2
    return _profile_rows(study, counts) * (REACTIVATION_ROW_BYTES if has_middle else EMPTY_ROW_BYTES)


SAE_METRICS = table_rule("sae_metrics", ("checkpoint", "sae"), ("cells:collect_metrics",), _metrics_bytes)
CATEGORY_PRESENCE = table_rule(
    "category_presence",
    ("checkpoint", "activations", "latent_stats"),
    ("cells:collect_presence",),
    _presence_bytes,
    recipe=_probes,
)
EMERGENCE_OVER_TIME = table_rule(
    "emergence_over_time", ("category_presence",), ("time:emergence_over_time",), _time_bytes
)
EMERGENCE_HAZARD = table_rule(
    "emergence_hazard",
    ("category_presence", "emergence_over_time", "claims"),
    ("hazard:emergence_hazard",),
    _hazard_bytes,
)
EMERGENCE_OVER_SPACE = table_rule(
    "emergence_over_space", ("category_presence",), ("space:emergence_over_space",), _space_bytes
)
REACTIVATION = table_rule("reactivation", ("category_presence",), ("reactivation:reactivation",), _reactivation_bytes)
RULES = (SAE_METRICS, CATEGORY_PRESENCE, EMERGENCE_OVER_TIME, EMERGENCE_OVER_SPACE, REACTIVATION)
FROM_CLAIMS = (EMERGENCE_HAZARD,)
"""Made after the claims, of what they grant."""


def metrics_tasks(plan: Plan, due: Sequence[tuple[Cell, Required]]) -> list[tuple[Task, Sequence[Cell]]]:
    """One task per model."""
    work = []
    for cell, required in due:
        sources = [
            {**key_columns(plan, SAE, source), "file": str(SAE.path(plan.storage, source) / METRICS_NAME)}
            for source in plan.cells(SAE, cell.model)
        ]
        sae = plan.study.sae
        d_model = plan.study.family.models[str(cell.model)].d_model
        design = {"n_latents": sae.n_latents, "k": sae.k, "arch": sae.variant, "d_model": d_model}
        arguments = {
            "sources": sources,
            "design": design,
            "path": str(SAE_METRICS.path(plan.storage, cell)),
            "required": required_to_json(required),
        }
        function, label = "emergence_assets.emergence.cells:collect_metrics", f"sae_metrics {cell}"
        work.append((Task(function, arguments, label, on_accelerator=False), [cell]))
    return work


def collect_metrics(
    sources: list[dict[str, Any]], design: dict[str, Any], path: str, required: str, report: Any
) -> None:
    """Worker: the quality of all SAEs of one model as a table."""
    from emergence_assets.emergence.sae_metrics import sae_metrics
    from emergence_assets.emergence.tables.saes import SAE_METRICS as TABLE

    frame = sae_metrics(sources, design)
    numbers = {"saes": len(frame), "mean_fvu": frame["fvu"].mean(), "mean_dead_frac": frame["dead_frac"].mean()}
    write_cell(Path(path), frame, TABLE, required, numbers)


def presence_tasks(plan: Plan, due: Sequence[tuple[Cell, Required]]) -> list[tuple[Task, Sequence[Cell]]]:
    """One task per model."""
    from emergence_assets.features.cells import LATENT_STATISTICS

    work = []
    for cell, required in due:
        cells = plan.cells(LATENT_STATISTICS, cell.model)
        sources = [
            {
                **key_columns(plan, LATENT_STATISTICS, source),
                "file": str(presence_cells_path(plan.storage, source)),
                "done_by": str(LATENT_STATISTICS.path(plan.storage, source)),
            }
            for source in cells
        ]
        arguments = {
            "sources": sources,
            "probes": canonical_json(plan.study.probe_set.model_dump()),
            "tokens_file": str(stored_tokens_file(plan, cells[0])),
            "n_shuffles": plan.study.statistics.n_shuffles,
            "seed": plan.study.statistics.seed,
            "path": str(CATEGORY_PRESENCE.path(plan.storage, cell)),
            "required": required_to_json(required),
        }
        function, label = "emergence_assets.emergence.cells:collect_presence", f"category_presence {cell}"
        work.append((Task(function, arguments, label, on_accelerator=False), [cell]))
    return work


def collect_presence(
    sources: list[dict[str, Any]],
    probes: str,
    tokens_file: str,
    n_shuffles: int,
    seed: int,
    path: str,
    required: str,
    report: Any,
) -> None:
    """Worker: presence of every category in every cell of one model, beside its controls."""
    import polars as pl

    from emergence_assets.activations.tokens import read_tokens
    from emergence_assets.emergence.presence import category_presence
    from emergence_assets.emergence.tables.presence import CATEGORY_PRESENCE as TABLE
    from emergence_assets.features.controls import bag_of_words_auroc
    from emergence_assets.features.tables.presence import PRESENCE_CELLS

    parts = []
    for position, source in enumerate(sources):
        part = read_table(Path(source["file"]), PRESENCE_CELLS)
        parts.append(part.with_columns(key_literals(source)))
        report(position + 1, len(sources), "")
    texts = dict(probe_set(probes).texts.select("text_id", "text").iter_rows())
    ordered = [texts[name] for name in read_tokens(Path(tokens_file)).probe_text_id]
    labels = cell_labels(probes, Path(tokens_file))
    bow = bag_of_words_auroc(ordered, labels, n_shuffles=n_shuffles, shuffle_seed=seed)
    frame = category_presence(pl.concat(parts), bow)
    last = frame.filter(pl.col("step") == frame["step"].max(), pl.col("control_id") == "none")
    numbers = {"rows": len(frame), "mean_p_best_at_last_step": last["p_best"].mean(), "mean_gain": last["gain"].mean()}
    write_cell(Path(path), frame, TABLE, required, numbers)


def table_tasks(rule: Rule) -> Callable[[Plan, Sequence[tuple[Cell, Required]]], list[tuple[Task, Sequence[Cell]]]]:
    """Tasks of a table that is derived from other tables of this stage."""

    def tasks(plan: Plan, due: Sequence[tuple[Cell, Required]]) -> list[tuple[Task, Sequence[Cell]]]:
        work = []
        for cell, required in due:
            arguments = {
                "sources": {
                    source.name: str(source.path(plan.storage, source_cell))
                    for source, source_cell in plan.input_cells(rule, cell)
                },
                "table": rule.name,
                "path": str(rule.path(plan.storage, cell)),
                "required": required_to_json(required),
            }
            function, label = "emergence_assets.emergence.cells:derive_table", f"{rule.name} {cell}"
            work.append((Task(function, arguments, label, on_accelerator=False), [cell]))
        return work

    return tasks


def derive_table(sources: dict[str, str], table: str, path: str, required: str, report: Any) -> None:
    """Worker: one of the emergence tables of one model, from others."""
    from emergence_assets.emergence.hazard import emergence_hazard
    from emergence_assets.emergence.reactivation import reactivation
    from emergence_assets.emergence.space import emergence_over_space
    from emergence_assets.emergence.tables.catalogue import CATALOGUE
    from emergence_assets.emergence.time import emergence_over_time

    derive: Callable[..., Any] = {
        "emergence_over_time": emergence_over_time,
        "emergence_hazard": emergence_hazard,
        "emergence_over_space": emergence_over_space,
        "reactivation": reactivation,
    }[table]
    read = {name: read_table(Path(source), CATALOGUE[name]) for name, source in sources.items()}
    frame = derive(**{ARGUMENTS[name]: frame for name, frame in read.items()})
    write_cell(Path(path), frame, CATALOGUE[table], required, {"rows": len(frame)})


ARGUMENTS = {"category_presence": "presence", "emergence_over_time": "time", "claims": "claims"}
"""How functions call the tables that they derive others from."""
