"""Materialisation events: the metadata of a cell in the UI, and the versions of its inputs."""

import base64
from collections import Counter
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import dagster as dg

from emergence_assets.checkpoints.spec import CHECKPOINT_REGISTRY
from emergence_assets.checkpoints.table import REGISTRY
from emergence_assets.orchestration.instance.partitions import asset_key, partition_key
from emergence_assets.plan.asset_spec import AssetSpec, stored_provenance
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.code_version import code_version
from emergence_assets.plan.content_hash import CONTENT_HASH_TAG, CREATED_TAG, VERSION_TAG, content_hash, tag_time
from emergence_assets.plan.lineage_id import cell_id
from emergence_assets.plan.plan import Plan
from resources.errors import EmergenceError
from resources.files.mounts import look_again
from resources.files.provenance import Provenance
from resources.tables.parquet import read_table

SHOWN_INPUTS = 12
"""Maximum number of inputs that an event lists one by one."""


class Recorder:
    """Writes materialisation events with data versions and pointers to the events of their inputs."""

    def __init__(self, context: dg.AssetExecutionContext, plan: Plan, spec: AssetSpec, key: dg.AssetKey):
        self.context, self.plan, self.spec, self.key = context, plan, spec, key

    def provenance(self, cell: Cell) -> Provenance:
        """Return the stored provenance of a finished cell.

        Raises:
            EmergenceError: there is no stored provenance.
        """
        path = self.spec.path(self.plan.storage, cell)
        stored = stored_provenance(self.spec, path)
        if stored is None and look_again(path):
            stored = stored_provenance(self.spec, path)
        if stored is None:
            raise EmergenceError(
                f"{self.spec.name} of {cell} was made and is no longer stored.", where=path, remedy="run again"
            )
        return stored

    def metadata(self, cell: Cell) -> dict[str, Any]:
        """Return the metadata of a cell for the UI: summary, path, inputs, environment and charts."""
        stored = self.provenance(cell)
        path = self.spec.path(self.plan.storage, cell)
        shown: dict[str, Any] = dict(stored.summary)
        shown |= {"path": dg.MetadataValue.path(str(path)), "fingerprint": stored.fingerprint}
        shown |= {"lineage id": cell_id(stored.fingerprint), "made from": dg.MetadataValue.json(_inputs(stored))}
        shown |= {"environment": dg.MetadataValue.json(dict(stored.environment))}
        for chart in sorted(path.glob("*.png")) if path.is_dir() else []:
            shown[chart.stem] = picture(chart.stem, chart.read_bytes())
        if self.spec.name == CHECKPOINT_REGISTRY.name:
            from emergence_assets.report.charts.checkpoint_likeness import registry_picture  # altair is slow to import

            if drawn := registry_picture(read_table(path, REGISTRY), str(cell.model)):
                shown["picture"] = picture(self.spec.name, drawn)
        return shown

    def result(self, cell: Cell, checks: Sequence[dg.AssetCheckResult]) -> dg.MaterializeResult:
        """Return the materialisation of the only cell that a run makes."""
        return dg.MaterializeResult(
            asset_key=self.key,
            metadata=self.metadata(cell),
            data_version=dg.DataVersion(self.provenance(cell).fingerprint),
            tags=self._content_tags(cell),
            check_results=checks,
        )

    def record(self, cell: Cell) -> None:
        """Write the materialisation event of one of several partitions of a run."""
        tags = {
            VERSION_TAG: self.provenance(cell).fingerprint,
            "dagster/code_version": code_version(*self.spec.code),
        } | self._content_tags(cell)
        for source, source_cell in self.plan.input_cells(self.spec, cell):
            tags |= self._input_tags(source, source_cell)
        self.context.log_event(
            dg.AssetMaterialization(self.key, metadata=self.metadata(cell), partition=partition_key(cell), tags=tags)
        )

    def _content_tags(self, cell: Cell) -> dict[str, str]:
        """Return the tags with which the audit compares the files of a cell: content hash and time of writing."""
        created = self.provenance(cell).created
        return {CONTENT_HASH_TAG: content_hash(self.spec, self.plan.storage, cell), CREATED_TAG: tag_time(created)}

    def _input_tags(self, source: AssetSpec, cell: Cell) -> dict[str, str]:
        key = asset_key(self.plan.study, cell.model, source.name)
        partition = partition_key(cell) if cell.step is not None else None
        event = self.context.instance.get_latest_data_version_record(key, partition_key=partition)
        if event is None or event.asset_materialization is None:
            return {}
        version = (event.asset_materialization.tags or {}).get(VERSION_TAG, "")
        name = key.to_user_string()
        return {
            f"dagster/input_data_version/{name}": sha256(version.encode()).hexdigest(),
            f"dagster/input_event_pointer/{name}": str(event.storage_id),
        }


def _inputs(stored: Provenance) -> dict[str, Any]:
    """Return the inputs with their fingerprints; only counts where there are many, because every event repeats them."""
    inputs = stored.required.inputs
    if len(inputs) <= SHOWN_INPUTS:
        return dict(inputs)
    return {asset: f"{number} cells" for asset, number in Counter(name.split(" ")[0] for name in inputs).items()}


def picture(title: str, png: bytes) -> dg.MarkdownMetadataValue:
    """Embed a PNG in the event, so that the UI shows it without a file server."""
    return dg.MetadataValue.md(f"![{title}](data:image/png;base64,{base64.b64encode(png).decode()})")
