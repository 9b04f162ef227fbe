"""A study of 30,000 cells whose tables repeat those of a small finished one, to look at views, plans and audits of it.

Nothing is measured on its numbers. Its files have the sizes, schemas and checksums of real ones.
"""

import os
import shutil
from pathlib import Path

import polars as pl
import yaml

from emergence_assets.features.examples_table import LATENT_EXAMPLES, NAMED_LATENTS
from emergence_assets.pipeline import specs_for
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.table_inputs import table_path
from emergence_assets.plan.table_spec import TableSpec
from emergence_assets.study.load import load_study
from emergence_assets.study.study import Study
from resources.files.storage import Storage
from resources.tables.parquet import read_table, table_provenance, write_table
from resources.tables.table import Table

N_MODELS, N_LAYERS, N_STEPS = 10, 20, 150
"""Models, layers of each, checkpoints of each."""
LAST_STEP = 1490


def write_study_file(path: Path, seed_study: Study) -> None:
    """Write the study file: the settings of a small study with other models and steps."""
    model = {"d_model": 32, "n_layers": N_LAYERS, "n_heads": 2, "learning_rate": 1e-3}
    fields = seed_study.model_dump(mode="json", exclude_unset=True)
    fields |= {"name": path.stem, "steps": list(range(0, LAST_STEP + 1, LAST_STEP // (N_STEPS - 1)))}
    models = {f"planted-{number}": model | {"d_model": 32 + 2 * number} for number in range(N_MODELS)}
    fields["family"] = {"source": "trained-here", "n_steps": LAST_STEP, "models": models}
    path.write_text(yaml.safe_dump(fields), encoding="utf-8")


def plant_study(path: Path, small: Study, data: Path) -> Study:
    """Plant every table of a study of 30,000 cells.

    Args:
        path: study file to write.
        small: a study that is finished in the data folder.
        data: data folder of both.
    """
    write_study_file(path, small)
    study = load_study(str(path))
    here, there = Storage(data, small.name), Storage(data, study.name)
    source = small.sizes[-1]
    steps = spread(list(study.listed_steps or ()), list(small.listed_steps or ()))
    for spec in specs_for(study):
        if not isinstance(spec, TableSpec):
            continue
        for table in spec.tables:
            if spec.grid == "model":
                layers = {model: spread(study.layers_of(model), small.layers_of(source)) for model in study.models}
                frame = read_table(table_path(here, table, Cell(source)), table)
                record = table_provenance(table_path(here, table, Cell(source))) or ""
                for model in study.models:
                    planted = spread_rows(frame, table, model, steps, layers[model])
                    write(table_path(there, table, Cell(model)), planted, table, record)
            elif spec.grid == "study":
                whole = table_path(here, table, Cell())
                write(table_path(there, table, Cell()), read_table(whole, table), table, table_provenance(whole) or "")
    shutil.copytree(here.report_folder(), there.report_folder())
    for model in study.models:
        layers = spread(study.layers_of(model), small.layers_of(source))
        for step, of_step in steps.items():
            for layer, of_layer in layers.items():
                for table in (NAMED_LATENTS, LATENT_EXAMPLES):
                    target = there.cell_table(table.name, model, step, layer)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    # Equal content: one file under many names, so that the study fits on a small disk.
                    os.link(here.cell_table(table.name, source, of_step, of_layer), target)
    return study


def spread(wanted: list[int], present: list[int]) -> dict[int, int]:
    """Map each of the wanted numbers to one that is present, at about the same share of the way."""
    last = max(1, len(wanted) - 1)
    return {one: present[round(place * (len(present) - 1) / last)] for place, one in enumerate(wanted)}


def spread_rows(
    frame: pl.DataFrame, table: Table, model: str, steps: dict[int, int], layers: dict[int, int]
) -> pl.DataFrame:
    """Repeat the rows of one model under another name, for more steps and layers."""
    for column, places in (("step", steps), ("layer", layers)):
        if column in table.key and frame[column].n_unique() > 1:
            dtype = frame.schema[column]
            pairs = pl.DataFrame(list(places.items()), schema={"other": dtype, column: dtype}, orient="row")
            frame = pairs.join(frame, on=column, how="inner").drop(column).rename({"other": column})
    # Rows that repeat exactly would compress to nothing, and be read faster than real ones.
    noise = pl.int_range(pl.len()).mul(0.6180339887).mod(1) * 1e-4
    floats = [name for name, dtype in frame.schema.items() if dtype.is_float()]
    frame = frame.with_columns((pl.col(name) + noise).cast(frame.schema[name]) for name in floats)
    if "model" in frame.columns:
        frame = frame.with_columns(model=pl.lit(model, frame.schema["model"]))
    return frame.select(table.schema.names())


def write(path: Path, frame: pl.DataFrame, table: Table, record: str) -> None:
    """Write a planted table with the provenance of the real one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_table(path, frame, table, record)
