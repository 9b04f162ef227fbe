"""Named latents of one SAE as SAEDashboard writes them for Neuronpedia, as plain values.

Read from the code of SAEDashboard 0.8.0 and Neuronpedia (commit ebb8426, 2026-08-20): a batch is what
`NeuronpediaDashboardBatch` is made from, an explanation is a row of Neuronpedia's table `Explanation`. A program that
converts batches asks for every key, so that what is not measured is an empty list or null.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import polars as pl

METHOD = "emergence-automatic"
"""Type of our explanations."""
NOTES = (
    "Automatic: from the words that set its texts apart and the token that it raises most. No language model was asked."
)
TOP = -1
"""Lower end and share of a bin by which Neuronpedia knows the strongest texts."""
NOT_MEASURED = (
    "neuron_alignment_indices",
    "neuron_alignment_values",
    "neuron_alignment_l1",
    "correlated_neurons_indices",
    "correlated_neurons_l1",
    "correlated_neurons_pearson",
    "correlated_features_indices",
    "correlated_features_l1",
    "correlated_features_pearson",
    "freq_hist_data_bar_values",
    "freq_hist_data_bar_heights",
    "logits_hist_data_bar_heights",
    "logits_hist_data_bar_values",
    "decoder_weights_dist",
    "vector",
)
"""Lists of a feature that stay empty."""


class Source(NamedTuple):
    """An SAE, as Neuronpedia names it."""

    model: str
    step: int
    layer: int
    """Block whose output is read, from 0; -1 is the embedding."""
    seed: int
    set_name: str
    """Name of the study."""
    dataset: str
    """Name of the probe texts."""

    @property
    def suffix(self) -> str:
        """What sets the SAE apart from others of its layer, such as `step512-seed0`."""
        return f"step{self.step}-seed{self.seed}"

    @property
    def id(self) -> str:
        """Id of the source, such as `3-quick__step512-seed0`."""
        return f"{self.layer}-{self.set_name}__{self.suffix}"


def batch(source: Source, named: pl.DataFrame, examples: pl.DataFrame) -> dict[str, Any]:
    """Make the batch of an SAE, with a feature per named latent, in the order of the latents.

    Numbers are those of the tables, not rounded. The begin token, at which no activation is measured, is left out, as
    SAEDashboard leaves out the first token.

    Args:
        source: the SAE.
        named: its rows of `named_latents`.
        examples: its rows of `latent_examples`.
    """
    texts = _number_of_texts(named)
    of_latent = {latent: rows.sort("rank") for (latent,), rows in examples.partition_by("latent", as_dict=True).items()}
    features = []
    for row in named.sort("latent").iter_rows(named=True):
        shown = of_latent.get(row["latent"], examples.clear())
        features.append(
            {
                "feature_index": row["latent"],
                **{name: [] for name in NOT_MEASURED},
                "neg_str": row["lowered"],
                "neg_values": row["lowered_by"],
                "pos_str": row["raised"],
                "pos_values": row["raised_by"],
                "frac_nonzero": row["density"],
                "n_prompts_total": texts,
                "n_tokens_in_prompt": None,
                "dataset": source.dataset,
                "activations": [_activation(one, row["largest"]) for one in shown.iter_rows(named=True)],
            }
        )
    return {
        "model_id": source.model,
        "layer": source.layer,
        "sae_set": source.set_name,
        "sae_id_suffix": source.suffix,
        "features": features,
    }


def explanations(source: Source, named: pl.DataFrame, fingerprint: str) -> list[dict[str, Any]]:
    """Make an explanation per named latent, of its automatic name.

    Args:
        source: the SAE.
        named: its rows of `named_latents`.
        fingerprint: fingerprint of the cell of these rows; the ids of the explanations follow from it.
    """
    return [
        {
            "id": _id(fingerprint, source.seed, latent),
            "modelId": source.model,
            "layer": source.id,
            "index": str(latent),
            "description": name,
            "authorId": None,
            "typeName": METHOD,
            "explanationModelName": None,
            "notes": NOTES,
        }
        for latent, name in named.sort("latent").select("latent", "name").iter_rows()
    ]


def _number_of_texts(named: pl.DataFrame) -> int | None:
    """Return the number of probe texts, which is in the table only as active texts over density."""
    active = named.filter(pl.col("n_active") > 0).select("n_active", "density").rows()
    return round(active[0][0] / active[0][1]) if active else None


def _activation(example: Mapping[str, Any], largest: float) -> dict[str, Any]:
    is_top = example["kind"] == "strongest"
    values = example["activations"][1:]
    return {
        "bin_min": TOP if is_top else None,
        "bin_max": largest if is_top else None,
        "bin_contains": TOP if is_top else None,
        "tokens": example["tokens"][1:],
        "values": values,
        "qualifying_token_index": len(values) - 1,
    }


def _id(fingerprint: str, seed: int, latent: int) -> str:
    """Return a key of 25 characters, as the keys of Neuronpedia are."""
    return "c" + hashlib.sha256(f"{fingerprint}/{seed}/{latent}".encode()).hexdigest()[:24]
