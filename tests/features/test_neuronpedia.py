"""Batches and explanations hold what the tables hold, number by number, and SAEDashboard's own class reads them."""

import json
import subprocess
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from emergence_assets.features.neuronpedia import NOT_MEASURED, Source, batch, explanations
from tests.features.planted_latents import N_TEXTS, PIECES, latent_examples, named_latents

PEERS = Path(__file__).parents[2] / ".peers/bin/python"
SOURCE = Source("gloss-tiny", 512, 3, 1, "tiny", "WordNet glosses")
NAMED = named_latents({7: "hound, dog", 0: "no distinctive word", 31: 'a "b"\n → \u2028'}, seeds=(1,)).filter(
    control_id="none"
)
EXAMPLES = latent_examples(NAMED)
READ = """
import json, sys
from sae_dashboard.neuronpedia.neuronpedia_dashboard import NeuronpediaDashboardBatch
with open(sys.argv[1], encoding="utf-8") as file:
    read = NeuronpediaDashboardBatch(**json.load(file))
print(json.dumps(read.to_dict()))
"""


def tables_of(features: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Return what the tables know of the features: logits, density, tokens and activations."""
    return [
        (
            one["feature_index"],
            *(one[name] for name in ("pos_str", "pos_values", "neg_str", "neg_values", "frac_nonzero")),
            [(shown["tokens"], shown["values"]) for shown in one["activations"]],
        )
        for one in features
    ]


def expected_tables() -> list[tuple[Any, ...]]:
    rows = NAMED.sort("latent").select("latent", "raised", "raised_by", "lowered", "lowered_by", "density").rows()
    by_latent = {row[0]: EXAMPLES.filter(latent=row[0]).sort("rank") for row in rows}
    return [
        (*row, [(tokens[1:], values[1:]) for tokens, values in by_latent[row[0]]["tokens", "activations"].iter_rows()])
        for row in rows
    ]


def test_a_batch_holds_the_numbers_of_the_tables() -> None:
    made = batch(SOURCE, NAMED, EXAMPLES)
    assert {name: made[name] for name in made if name != "features"} == {
        "model_id": "gloss-tiny",
        "layer": 3,
        "sae_set": "tiny",
        "sae_id_suffix": "step512-seed1",
    }
    assert tables_of(made["features"]) == expected_tables()
    assert [one["n_prompts_total"] for one in made["features"]] == [N_TEXTS] * 3


def test_the_strongest_texts_are_marked_and_no_bin_is_invented_for_others() -> None:
    feature = batch(SOURCE, NAMED, EXAMPLES)["features"][2]
    largest = NAMED.filter(latent=31)["largest"][0]
    assert [tuple(one[f"bin_{end}"] for end in ("min", "max", "contains")) for one in feature["activations"]] == [
        (-1, largest, -1),
        (-1, largest, -1),
        (None, None, None),
    ]
    for one in feature["activations"]:
        assert one["qualifying_token_index"] == len(one["tokens"]) - 1 == len(one["values"]) - 1


def test_what_is_not_measured_is_empty_or_null() -> None:
    for feature in batch(SOURCE, NAMED, EXAMPLES)["features"]:
        assert all(feature[name] == [] for name in NOT_MEASURED)
        assert feature["n_tokens_in_prompt"] is None
    asleep = NAMED.filter(pl.col("n_active") == 0)
    (feature,) = batch(SOURCE, asleep, EXAMPLES)["features"]
    assert (feature["activations"], feature["n_prompts_total"], feature["frac_nonzero"]) == ([], None, 0)


def test_an_explanation_is_our_name_marked_as_automatic() -> None:
    made = explanations(SOURCE, NAMED, "f" * 32)
    assert [(one["index"], one["description"]) for one in made] == [
        (str(latent), name) for latent, name in NAMED.sort("latent").select("latent", "name").iter_rows()
    ]
    for one in made:
        assert (one["modelId"], one["layer"]) == ("gloss-tiny", "3-tiny__step512-seed1")
        assert (one["typeName"], one["explanationModelName"]) == ("emergence-automatic", None)
        assert one["authorId"] is None
        assert "utomatic" in one["notes"]
    others = explanations(SOURCE._replace(seed=0), NAMED, "f" * 32)
    keys = {one["id"] for one in (*made, *others)}
    assert (len(keys), {len(key) for key in keys}) == (6, {25})
    assert made == explanations(SOURCE, NAMED, "f" * 32)


@pytest.mark.peers
def test_its_class_reads_a_batch_and_holds_the_numbers_of_the_tables(tmp_path: Path) -> None:
    assert PEERS.exists(), "type `make peers`"
    made = batch(SOURCE, NAMED, EXAMPLES)
    (tmp_path / "batch-0.json").write_text(json.dumps(made), encoding="utf-8")
    arguments = [str(PEERS), "-c", READ, str(tmp_path / "batch-0.json")]
    ended = subprocess.run(arguments, capture_output=True, text=True, check=True, timeout=300)
    read = json.loads(ended.stdout)
    assert read == made
    assert tables_of(read["features"]) == expected_tables()
    assert {piece for one in read["features"][2]["activations"] for piece in one["tokens"]} == set(PIECES[1:])
