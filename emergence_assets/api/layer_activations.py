"""The residual stream of one layer of one checkpoint, with the texts and tokens of its rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

from emergence_assets.activations.files.reading import Rows, open_rows, read_attrs, read_spec
from emergence_assets.plan.cell import Cell
from emergence_assets.study.study import Study
from emergence_assets.texts.study_texts import probe_set
from emergence_assets.texts.tokens import Tokens, known_tokens
from resources.environment import environment_variables
from resources.errors import EmergenceError
from resources.files.provenance import canonical_json
from resources.files.storage import Storage


@dataclass(frozen=True, eq=False)
class LayerActivations:
    """An activation file, opened for reading.

    `rows` are the training rows; `read_out` and `read_out_mean` are those of the probe texts, by which categories are
    measured. They are memory-mapped: nothing is read before it is used.
    """

    model: str
    step: int
    layer: int
    hook_point: str
    """Module whose output the rows are."""
    read_out: Rows
    """[probe texts, d_model]: residual stream at the last token of each probe text."""
    read_out_mean: Rows
    """[probe texts, d_model]: mean of the residual stream over all tokens of each probe text but the first."""
    _path: Path
    _tokens: Tokens
    _study: Study
    _data: Path

    @cached_property
    def rows(self) -> Rows:
        """Training rows [rows, d_model]; `float32(a, b)` and `tensor()` convert them.

        Raises:
            EmergenceError: the rows are evicted, or were streamed into the training and never stored.
        """
        return open_rows(self._path, "resid_post")

    @property
    def has_rows(self) -> bool:
        """Whether the training rows are stored."""
        return read_spec(self._path).storage_state == "stored"

    @property
    def token_ids(self) -> np.ndarray:
        """Token of each training row, int32 [rows]."""
        return self._tokens.training_rows.token_id_t

    @property
    def text_index(self) -> np.ndarray:
        """Number of the training text of each training row, int32 [rows]; an index into `text_ids`."""
        return self._tokens.training_rows.text_index_t

    @property
    def positions(self) -> np.ndarray:
        """Position of each training row in its text, int32 [rows]; the first token has position 0 and no row."""
        return self._tokens.training_rows.position_t

    @property
    def text_ids(self) -> Sequence[str]:
        """Names of the training texts, in the order of the rows."""
        return self._tokens.training_text_id

    @property
    def probe_text_ids(self) -> Sequence[str]:
        """Names of the probe texts, in the order of `read_out`."""
        return self._tokens.probe_text_id

    @cached_property
    def texts(self) -> pl.DataFrame:
        """Probe texts in the order of `read_out`: text_id, text, split, and a column per level of categories."""
        with environment_variables({"EMERGENCE_DATA": str(self._data)}):
            texts = probe_set(canonical_json(self._study.probe_set.model_dump())).texts
        order = pl.DataFrame({"text_id": list(self.probe_text_ids)})
        return order.join(texts.drop("unit"), on="text_id", how="left", maintain_order="left")


def layer_activations(storage: Storage, study: Study, cell: Cell) -> LayerActivations:
    """Open the activation file of a cell; see `StudyResults.activations`."""
    path = storage.activation_file(*cell.at_layer)
    if not path.exists():
        raise EmergenceError(
            f"The activations of {cell} are not captured yet.",
            where=path,
            remedy=f"type `emergence --study {storage.study} run --stage activations`",
        )
    attrs = read_attrs(path)
    tokens = known_tokens(storage.tokens_file(Path(str(attrs["tokens_file"])).stem))
    if tokens.fingerprint != attrs["tokens_fingerprint"]:
        raise EmergenceError(
            f"The token file of {cell} is not the one that its rows were made from.",
            where=path,
            remedy="type `emergence audit --verify`",
        )
    return LayerActivations(
        *cell.at_layer,
        str(attrs["hook_point"]),
        open_rows(path, "read_out"),
        open_rows(path, "read_out_mean"),
        path,
        tokens,
        study,
        storage.data,
    )
