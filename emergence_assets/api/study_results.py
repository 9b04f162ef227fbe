"""A study, opened for reading in a notebook or script: tables, checkpoints, activations, SAEs and lineage.

Nothing is written, and nothing is computed from weights. torch is imported when tensors are asked for, dagster never.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from emergence_assets.pipeline import specs_for
from emergence_assets.plan.asset_spec import AssetSpec
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.plan import Plan
from emergence_assets.plan.table_inputs import table_path
from emergence_assets.plan.table_spec import TableSpec
from emergence_assets.study.load import load_study
from emergence_assets.study.study import Study
from resources.errors import EmergenceError, require_known
from resources.files.records import folder_provenance
from resources.files.storage import Storage, data_folder, path_of
from resources.tables.parquet import read_table, read_tables
from resources.tables.table import Table

if TYPE_CHECKING:
    from emergence_assets.api.layer_activations import LayerActivations
    from emergence_assets.api.study_latent import StudyLatent
    from emergence_assets.api.study_sae import StudySAE
    from emergence_assets.audit.trace import Trace


_PLACE: dict[str, Any] = {"model": pl.String, "step": pl.Int32, "layer": pl.Int16}
"""Columns that name the cell of a file."""


def open_study(study: str | Path = "default", data: str | Path | None = None, seed: int = 0) -> "StudyResults":
    """Open the results of a study for reading.

    Args:
        study: name of a shipped study, or path of a study file.
        data: data folder; by default EMERGENCE_DATA, else `data` in the working directory.
        seed: number of the study's variant with other seeds, as in `emergence --seed`.

    Raises:
        EmergenceError: there is no such study or data folder, or the study file is invalid.
    """
    declared = load_study(str(study), seed)
    folder = data_folder() if data is None else Path(os.path.abspath(path_of(str(data))))  # noqa: PTH100 - keeps links
    storage = Storage(folder, declared.name)
    if not storage.root.is_dir():
        raise EmergenceError(
            f"The study {declared.name!r} has no results here.",
            where=storage.root,
            remedy=f"make them with `emergence --study {study} run`, or give the data folder as `data`",
        )
    return StudyResults(declared, storage)


class StudyResults:
    """Results of one study; made by `open_study`."""

    def __init__(self, study: Study, storage: Storage):
        self.settings = study
        """Fields of the study file."""
        self._storage = storage

    def __repr__(self) -> str:
        return f"<study {self.settings.name!r} in {self._storage.data}>"

    @property
    def name(self) -> str:
        """Name of the study."""
        return self.settings.name

    @property
    def models(self) -> list[str]:
        """Names of the models, in the order of the study file."""
        return list(self.settings.models)

    def steps(self, model: str) -> list[int]:
        """Return the training steps of a model that the study uses, ascending."""
        require_known("model", [model], self.models)
        return self._plan().steps_of(model)

    def layers(self, model: str) -> list[int]:
        """Return the layers of a model: block indexes from 0; -1 is the embedding."""
        require_known("model", [model], self.models)
        return list(self.settings.layers_of(model))

    def tables(self) -> pl.DataFrame:
        """List the tables of the study.

        Returns:
            Columns table, description, asset (that makes it), grid (a file per study, model or cell), files (on disk).
        """
        rows = [
            {
                "table": name,
                "description": table.description,
                "asset": spec.name,
                "grid": spec.grid,
                "files": len(self._files(spec, table, Cell())),
            }
            for name, (spec, table) in self._tables().items()
        ]
        return pl.DataFrame(rows)

    def table(
        self, name: str, *, model: str | None = None, step: int | None = None, layer: int | None = None
    ) -> pl.DataFrame:
        """Read a table, compared with the checksums of its files.

        Args:
            name: name of the table, see `tables`; docs/tables.md describes all columns with units.
            model: only rows of this model.
            step: only rows of this training step.
            layer: only rows of this layer.

        Raises:
            EmergenceError: there is no such table, model, step or layer; no file of it is made yet; or a file was
                altered or damaged.
        """
        wanted = Cell(model, step, layer)
        spec, table, made = self._made(name, wanted)
        chosen = {field: value for field, value in wanted._asdict().items() if value is not None}
        if spec.grid == "cell":
            return pl.concat(read_table(path, table).select(*_place(cell), pl.all()) for cell, path in made.items())
        require_known("column", chosen, table.schema)
        return read_tables(list(made.values()), table).filter(**chosen)

    def scan(self, name: str) -> pl.LazyFrame:
        """Return a lazy frame over a table, for queries that read a part of it; checksums are not compared.

        A table with a file per cell has the columns model, step and layer in front, as in `table`.

        Raises:
            EmergenceError: there is no such table, or no file of it is made yet.
        """
        spec, table, made = self._made(name, Cell())
        if spec.grid != "cell":
            return pl.scan_parquet(list(made.values()))
        cells = {str(path): cell for cell, path in made.items()}
        places = pl.LazyFrame(
            [(path, *cell) for path, cell in cells.items()], schema={"path": pl.String, **_PLACE}, orient="row"
        )
        rows = pl.scan_parquet(list(cells), include_file_paths="path").join(places, on="path", how="left")
        return rows.select(*_PLACE, *table.schema)

    @property
    def level(self) -> str:
        """Level of the labels that headline and report are about, such as subject.

        Raises:
            EmergenceError: the report is not made yet, or its record is damaged.
        """
        report = folder_provenance(self._storage.report_folder())
        if report is None:
            raise EmergenceError(
                "The report is not made yet.",
                where=self._storage.report_folder(),
                remedy=f"type `emergence --study {self.name} run`",
            )
        return str(report.summary["level"])

    def is_made(self, name: str) -> bool:
        """Return whether a file of a table is on disk; the table may still lack models, steps or layers.

        Raises:
            EmergenceError: there is no such table.
        """
        known, plan = self._tables(), self._plan()
        require_known("table", [name], known)
        spec, table = known[name]
        models = self.models if spec.grid == "cell" else [None]
        return any(self._file(spec, table, cell).exists() for model in models for cell in plan.cells(spec, model))

    def checkpoints(self, model: str | None = None) -> pl.DataFrame:
        """Return the registry of checkpoints: step, status, reasons, source, size, likeness; see docs/tables.md.

        Raises:
            EmergenceError: no checkpoint is registered yet.
        """
        return self.table("checkpoint_registry", model=model)

    def activations(self, model: str, step: int, layer: int) -> "LayerActivations":
        """Open the residual stream of one layer of one checkpoint: memory-mapped rows with their texts.

        Raises:
            EmergenceError: there is no such cell, or it is not captured yet.
        """
        from emergence_assets.api.layer_activations import layer_activations

        return layer_activations(self._storage, self.settings, self._cell(model, step, layer))

    def sae(self, model: str, step: int, layer: int, seed: int | None = None) -> "StudySAE":
        """Load an SAE; imports torch.

        Args:
            model: name of the model.
            step: training step of the checkpoint.
            layer: block index from 0; -1 is the embedding.
            seed: seed of the SAE; by default the first of the study.

        Raises:
            EmergenceError: there is no such SAE, it is not trained yet, or its files are damaged.
        """
        from emergence_assets.api.study_sae import study_sae

        return study_sae(self._storage, self._cell(model, step, layer), self._seed(seed))

    def latent(self, model: str, step: int, layer: int, latent: int, seed: int | None = None) -> "StudyLatent":
        """Return what is known of a latent: its name, texts, words, tokens, categories and neighbours.

        Args:
            model: name of the model.
            step: training step of the checkpoint.
            layer: block index from 0; -1 is the embedding.
            latent: index of the latent.
            seed: seed of the SAE; by default the first of the study.

        Raises:
            EmergenceError: there is no such cell or seed; or no table names the latent, so that no texts were kept.
        """
        from emergence_assets.api.study_latent import study_latent

        return study_latent(self, self._cell(model, step, layer), self._seed(seed), latent)

    def audit(self, address: str, **where: object) -> "Trace":
        """Trace a result to everything behind it, as `emergence audit` does.

        Args:
            address: a claim (`claims/3`), a figure, a table, a cell or a lineage id.
            where: columns that select one row of a table, such as model="gloss-671k", layer=4.

        Returns:
            The trace: `root` is the tree of cells with recipes, environments and runs.

        Raises:
            EmergenceError: the address fits nothing, or more than one result.
        """
        from emergence_assets.audit.address import resolve
        from emergence_assets.audit.events import open_event_log
        from emergence_assets.audit.records import AuditPlan
        from emergence_assets.audit.trace import trace
        from resources.files.storage import instance_home

        plan = AuditPlan(self._plan())
        with open_event_log(instance_home(self._storage.data), self.name) as events:
            filters = {name: str(value) for name, value in where.items()}
            return trace(resolve(address, filters, plan, events), plan, events)

    def _plan(self) -> Plan:
        return Plan(self.settings, self._storage, specs_for(self.settings))

    def _tables(self) -> Mapping[str, tuple[AssetSpec, Table]]:
        return {table.name: (spec, table) for spec in specs_for(self.settings) for table in spec.tables}

    def _files(self, spec: AssetSpec, table: Table, wanted: Cell) -> dict[Cell, Path]:
        """Return the files of a table on disk, as far as they may hold rows of the wanted cell."""
        plan, model = self._plan(), None if spec.grid == "study" else wanted.model
        if spec.grid == "cell" and model and wanted.step is not None and wanted.layer is not None:
            # One cell of perhaps 30,000: the others need not be listed.
            is_cell = wanted.step in plan.steps_of(model) and wanted.layer in self.layers(model)
            cells = [wanted] if is_cell else []
        else:
            cells = plan.cells(spec, model)
        paths = {cell: self._file(spec, table, cell) for cell in cells if _may_hold(cell, wanted)}
        return {cell: path for cell, path in paths.items() if path.exists()}

    def _file(self, spec: AssetSpec, table: Table, cell: Cell) -> Path:
        if isinstance(spec, TableSpec):
            return table_path(self._storage, table, cell)
        return spec.path(self._storage, cell) / f"{table.name}.parquet"  # the report is a folder

    def _made(self, name: str, wanted: Cell) -> tuple[AssetSpec, Table, dict[Cell, Path]]:
        known = self._tables()
        require_known("table", [name], known)
        require_known("model", [] if wanted.model is None else [wanted.model], self.models)
        spec, table = known[name]
        files = self._files(spec, table, wanted)
        if not files:
            raise EmergenceError(
                f"{name} is not made yet" + ("." if wanted == Cell() else f" for {_named(wanted)}."),
                where=self._storage.root,
                remedy=f"type `emergence --study {self.name} run --stage {spec.stage}`",
            )
        return spec, table, files

    def _seed(self, seed: int | None) -> int:
        seeds = list(self.settings.sae.seeds)
        require_known("SAE seed", [] if seed is None else [seed], seeds)
        return seeds[0] if seed is None else seed

    def _cell(self, model: str, step: int, layer: int) -> Cell:
        for kind, value, known in (("step", step, self.steps(model)), ("layer", layer, self.layers(model))):
            if value not in known:
                choices = ", ".join(map(str, known)) or "none: type `emergence checkpoints`"
                raise EmergenceError(f"{model} has no {kind} {value} in this study.", remedy=f"choose from {choices}")
        return Cell(model, step, layer)


def _may_hold(cell: Cell, wanted: Cell) -> bool:
    return all(None in pair or pair[0] == pair[1] for pair in zip(cell, wanted, strict=True))


def _named(wanted: Cell) -> str:
    return ", ".join(f"{field} {value}" for field, value in wanted._asdict().items() if value is not None)


def _place(cell: Cell) -> list[pl.Expr]:
    return [pl.lit(value, dtype).alias(name) for value, (name, dtype) in zip(cell, _PLACE.items(), strict=True)]
