"""Ways to tamper with a finished study, each with its name and the finding that an audit has to report."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from emergence_assets.plan.code_version import SCHEME
from resources.files.provenance import Provenance
from resources.files.records import RECORD_NAME, folder_hash
from resources.tables.parquet import table_provenance, write_table

STEP = Path("model=gloss-tiny/step=000003")


def flip(path: Path, place: int | None = None) -> None:
    """Flip one bit, by default in the middle of the file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if place is None else place] ^= 1
    path.write_bytes(content)


def flip_within(path: Path, text: bytes) -> None:
    """Flip the lowest bit of the last byte of a text in a file."""
    flip(path, path.read_bytes().index(text) + len(text) - 1)


def flip_activations(study: Path) -> None:
    import h5py

    path = study / "activations" / STEP / "layer=001.h5"
    with h5py.File(path) as file:
        offset = file["read_out"].id.get_offset()
    flip(path, offset + 5)


def flip_tokens(study: Path) -> None:
    import h5py

    path = next((study / "tokens").glob("*.h5"))
    with h5py.File(path) as file:
        offset = file["probe/ids"].id.get_offset() if "probe/ids" in file else file["probe/token_id"].id.get_offset()
    flip(path, offset)


def edit_table(study: Path) -> None:
    """Write another number into a table, with a correct checksum and the old record."""
    from emergence_assets.emergence.presence.table import CATEGORY_PRESENCE

    path = study / "tables/category_presence/model=gloss-tiny.parquet"
    frame = pl.read_parquet(path).with_columns(p_best=pl.lit(0.9, pl.Float32))
    schema = CATEGORY_PRESENCE.schema
    write_table(path, frame.cast({"p_best": schema["p_best"]}), CATEGORY_PRESENCE, table_provenance(path) or "")


def swap(study: Path) -> None:
    """Exchange the SAEs of layers 0 and 1."""
    one, other = (study / "saes" / STEP / f"layer=00{layer}" for layer in (0, 1))
    aside = one.with_name("aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


def swap_activations(study: Path) -> None:
    one, other = (study / "activations" / STEP / f"layer=00{layer}.h5" for layer in (0, 1))
    shutil.copyfile(other, one)


def rewrite_record(folder: Path, change: Callable[[Provenance], Provenance]) -> None:
    """Change the record of a folder; its hashes stay correct."""
    path = folder / RECORD_NAME
    path.write_text(change(Provenance.from_json(path.read_text(), path)).to_json() + "\n")


def other_activations(study: Path) -> None:
    """Let an SAE record other activations as its input."""

    def change(stored: Provenance) -> Provenance:
        inputs = {
            name: "0" * 32 if name.startswith("activations") else value
            for name, value in stored.required.inputs.items()
        }
        return replace(stored, required=replace(stored.required, inputs=inputs))

    rewrite_record(study / "saes" / STEP / "layer=001", change)


def other_code(study: Path) -> None:
    """Let a result record other code."""
    rewrite_record(
        study / "saes" / STEP / "layer=001",
        lambda stored: replace(stored, required=replace(stored.required, code_version=f"{SCHEME}-{16 * 'f'}")),
    )


def other_settings(study: Path) -> None:
    rewrite_record(
        study / "saes" / STEP / "layer=001",
        lambda stored: replace(
            stored, required=replace(stored.required, recipe={**stored.required.recipe, "evaluation_share": 5})
        ),
    )


def other_weights(study: Path) -> None:
    """Give an SAE other weights, with a content hash that fits them."""
    folder = study / "saes" / STEP / "layer=001"
    flip(next(folder.rglob("sae_weights.safetensors")), -1)
    rewrite_record(
        folder,
        lambda stored: replace(stored, summary={**stored.summary, "content_sha256": folder_hash(folder)}),
    )


def improved_summary(study: Path) -> None:
    """Record a better loss of a training run."""
    path = study / "checkpoints/gloss-tiny/training_run.json"
    stored = Provenance.from_json(path.read_text(), path)
    path.write_text(replace(stored, summary={**stored.summary, "final_validation_loss": 1.0}).to_json() + "\n")


def made_again(study: Path) -> None:
    """Write the same result from the same settings at another place and time."""
    rewrite_record(
        study / "saes" / STEP / "layer=001", lambda stored: replace(stored, created="2030-01-01T00:00:00+00:00")
    )


def lose_event(study: Path) -> None:
    _events(
        study, "DELETE FROM event_logs WHERE asset_key LIKE '%\"gloss-tiny\", \"sae\"]' AND partition LIKE 'L01|%3'"
    )


def event_of_something_else(study: Path) -> None:
    _events(
        study,
        "UPDATE event_logs SET event = json_set(event, "
        "'$.dagster_event.event_specific_data.materialization.tags.\"dagster/data_version\"', '" + "0" * 32 + "') "
        "WHERE asset_key LIKE '%\"gloss-tiny\", \"sae\"]' AND partition LIKE 'L01|%3' "
        "AND dagster_event_type = 'ASSET_MATERIALIZATION'",
    )


def event_of_no_cell(study: Path) -> None:
    _events(
        study,
        "UPDATE event_logs SET partition = 'L07|step000003' WHERE asset_key LIKE '%\"gloss-tiny\", \"sae\"]' "
        "AND partition LIKE 'L01|%3'",
    )


def _events(study: Path, statement: str) -> None:
    connection = sqlite3.connect(study.parent / "dagster/history/runs/index.db")
    assert connection.execute(statement).rowcount > 0
    connection.commit()
    connection.close()


def other_record_beside(study: Path) -> None:
    """Put counts of another layer beside a cell's statistics."""
    one, other = (study / "tables/rule_counts" / STEP / f"layer=00{layer}.parquet" for layer in (0, 1))
    shutil.copyfile(other, one)


def add_to_sae(study: Path) -> None:
    (study / "saes" / STEP / "layer=001" / "notes.txt").write_text("mine")


def shorten(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


@dataclass(frozen=True)
class Tampering:
    """A change to a study, and the finding that has to name it."""

    do: Callable[[Path], object]
    kind: str
    asset: str
    cell: str
    says: str
    """Part of the reason."""


SAE_CELL = "gloss-tiny/step000003/L01"
TAMPERINGS: dict[str, Tampering] = {
    "a bit of the activations": Tampering(flip_activations, "altered", "activations", SAE_CELL, "read_out"),
    "a bit of the tokens": Tampering(flip_tokens, "altered", "activations", "", ""),
    "a bit of an SAE's weights": Tampering(
        lambda study: flip(next((study / "saes" / STEP / "layer=001").rglob("*.safetensors")), -1),
        *("altered", "sae", SAE_CELL, "not those that were written"),
    ),
    "a bit of a picture beside an SAE": Tampering(
        lambda study: flip(next((study / "saes" / STEP / "layer=001").rglob("*.png"))),
        *("altered", "sae", SAE_CELL, "not those that were written"),
    ),
    "a bit of the weights of a checkpoint": Tampering(
        lambda study: flip(study / "checkpoints/gloss-tiny/step3/model.safetensors", -1),
        *("altered", "checkpoint", "gloss-tiny/step000003", "weights_sha256"),
    ),
    "a bit of a tokenizer's settings": Tampering(
        lambda study: flip(study / "checkpoints/gloss-tiny/step3/tokenizer_config.json", 4),
        *("altered", "training_run", "gloss-tiny", "not those that training wrote"),
    ),
    "a bit of a table": Tampering(
        lambda study: flip(study / "tables/claims.parquet", 100),
        *("altered", "claims", "all models", "bytes are not those"),
    ),
    "a bit of a table's footer": Tampering(
        lambda study: flip_within(study / "tables/cost_utility.parquet", b'"recipe":'),
        *("altered", "cost_utility", "all models", ""),
    ),
    "a bit of the report": Tampering(
        lambda study: flip(study / "report/index.html"),
        "altered",
        "report",
        "all models",
        "not those that were written",
    ),
    "a bit of a checkpoint's record": Tampering(
        lambda study: flip_within(study / "registry/model=gloss-tiny/step=000003.json", b'"weights_sha256":"'),
        *("altered", "checkpoint", "gloss-tiny/step000003", "cannot be read"),
    ),
    "a bit of a part of the controls": Tampering(
        lambda study: flip(next((study / "tables/control_parts/model=gloss-tiny").glob("*.parquet")), 100),
        *("altered", "category_controls", "gloss-tiny", "bytes are not those"),
    ),
    "the checkpoint timeline cut short": Tampering(
        lambda study: shorten(study / "registry/model=gloss-tiny/time_axis.json"), "altered", "", "gloss-tiny", ""
    ),
    "a table cut short": Tampering(
        lambda study: shorten(study / "tables/category_presence/model=gloss-tiny.parquet"),
        *("altered", "category_presence", "gloss-tiny", "not a complete parquet file"),
    ),
    "a number in a table, with a new checksum": Tampering(
        edit_table, "altered", "category_presence", "gloss-tiny", "not the one that run"
    ),
    "an SAE's weights, with a new hash": Tampering(other_weights, "altered", "sae", SAE_CELL, "not the one that run"),
    "a better loss in a record": Tampering(
        improved_summary, "altered", "training_run", "gloss-tiny", "not the one that run"
    ),
    "two SAEs exchanged": Tampering(
        swap, "altered", "sae", SAE_CELL, "the file holds sae of gloss-tiny/step000003/L00"
    ),
    "layer 1's activations as layer 0's": Tampering(
        swap_activations,
        *("altered", "activations", "gloss-tiny/step000003/L00", "holds activations of gloss-tiny/step000003/L01"),
    ),
    "counts of another layer beside statistics": Tampering(
        other_record_beside, "altered", "latent_stats", "gloss-tiny/step000003/L00", SAE_CELL
    ),
    "a file added to an SAE": Tampering(add_to_sae, "altered", "sae", SAE_CELL, "not those that were written"),
    "an SAE trained on other activations": Tampering(
        other_activations, "stale", "sae", SAE_CELL, "made from activations gloss-tiny/step000003/L01 0000000000"
    ),
    "a result made by other code": Tampering(other_code, "stale", "sae", SAE_CELL, "the code changed"),
    "a result made with other settings": Tampering(other_settings, "stale", "sae", SAE_CELL, "evaluation_share was 5"),
    "a file lost": Tampering(
        lambda study: (study / "tables/latent_stats" / STEP / "layer=001.parquet").unlink(),
        *("missing", "latent_stats", SAE_CELL, "run "),
    ),
    "a checkpoint lost": Tampering(
        lambda study: shutil.rmtree(study / "checkpoints/gloss-tiny/step3"), "missing", "training_run", "gloss-tiny", ""
    ),
    "the tokens lost": Tampering(
        lambda study: next((study / "tokens").glob("*.h5")).unlink(), "missing", "activations", "", "token file"
    ),
    "a table beside another lost": Tampering(
        lambda study: (study / "tables/rule_counts" / STEP / "layer=001.parquet").unlink(),
        *("missing", "latent_stats", SAE_CELL, ""),
    ),
    "a file of another study": Tampering(
        lambda study: (study / "tables/extra.parquet").write_bytes(b"x"), "orphaned", "", "", "no cell of the study"
    ),
    "a layer that the study does not have": Tampering(
        lambda study: shutil.copytree(study / "saes" / STEP / "layer=001", study / "saes" / STEP / "layer=009"),
        *("orphaned", "", "", "no cell of the study"),
    ),
    "an event of a cell that is not": Tampering(
        event_of_no_cell, "orphaned", "sae", "gloss-tiny/step000003/L07", "no such cell"
    ),
    "an event of something else": Tampering(event_of_something_else, "forked", "sae", SAE_CELL, "0000000000"),
    "a result made again elsewhere": Tampering(made_again, "forked", "sae", SAE_CELL, "2030-01-01"),
    "an event lost": Tampering(lose_event, "unrecorded", "sae", SAE_CELL, "no event"),
}


def is_named(tampering: Tampering, findings: list[dict[str, str]]) -> bool:
    """Return whether one of the found causes is the planted change."""
    return any(
        (one["kind"], one["asset"], one["cell"]) == (tampering.kind, tampering.asset, tampering.cell)
        and tampering.says in one["reason"]
        and not one["because"]
        for one in findings
    )


def told(findings: list[dict[str, str]]) -> str:
    return json.dumps(findings[:6], indent=1)
