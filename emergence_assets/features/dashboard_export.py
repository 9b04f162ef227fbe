"""Export of a study's named latents for SAEDashboard and Neuronpedia: a folder per SAE, an index and a card."""

import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from emergence_assets.features.examples_spec import LATENT_EXAMPLES
from emergence_assets.features.examples_table import LATENT_EXAMPLES as EXAMPLES
from emergence_assets.features.examples_table import NAMED_LATENTS
from emergence_assets.features.neuronpedia import METHOD, Source, batch, explanations
from emergence_assets.plan.plan import Plan
from emergence_assets.plan.selection import Selection
from emergence_assets.plan.table_inputs import table_path
from emergence_assets.saes.export_folder import (
    earlier_entries,
    folder_name,
    place,
    selected_cells,
    selected_seeds,
    write_index,
)
from emergence_assets.study.probe_set import MMLUProbes, WordNetProbes
from emergence_assets.study.study import Study
from resources.errors import EmergenceError
from resources.files.atomic import clear_disk_errors
from resources.files.provenance import Provenance
from resources.tables.parquet import read_table, table_provenance

LAYOUT = "sae_dashboard"
BATCH_NAME, EXPLANATIONS_NAME = "batch-0.json", "explanations.jsonl"
CARD = """# Latents of study {study} for SAEDashboard and Neuronpedia

The named latents of {n_saes} SAEs: the best of a category, and those that the rule of the study accepts. All others are
left out, so that a latent that is not here need not be dead. `index.json` lists the SAEs with model, step, layer and
seed. The folder of an SAE has

* `{batch}`, as SAEDashboard 0.8 writes it for Neuronpedia (`NeuronpediaDashboardBatch`);
* `{explanations}`, rows of Neuronpedia's table `Explanation`: names that are made automatically from words and tokens.
  No language model was asked (`typeName` is `{method}`).

What the fields of a batch are here:

* `tokens` and `values`: pieces of a probe text and the activation at each, without the begin token.
* `qualifying_token_index`: the last token, at which texts are compared.
* `bin_min`, `bin_max`, `bin_contains`: -1, the largest activation at the last token of any text, and -1, for the
  strongest texts; null for weaker texts, which are taken at quantiles of the active ones.
* `frac_nonzero`: share of the probe texts at whose last token the latent is active; SAEDashboard counts all tokens.
* `n_prompts_total`: number of probe texts. `n_tokens_in_prompt` is null, because they differ in length.
* `pos_str` and `neg_str`: tokens whose logit the decoder direction raises and lowers most, through the final norm and
  the unembedding; SAEDashboard leaves out the norm. Empty where the architecture has no such pair.

Empty, because they are not measured: histograms of activations and logits, aligned neurons, correlated neurons and
features, decoder weights by head, vectors.

Neuronpedia's `convert-saedashboard-to-neuronpedia-export.py` makes its import files from one folder at a time; give it
`--neuronpedia-source-set-id={study}` and the model and layer of the index. The explanations go beside them, compressed,
as `explanations/batch-0.jsonl.gz`. Before, set `authorId`, which is null here, to a user of the server, and add the
type `{method}` to its types of explanations.
"""


def export_dashboards(plan: Plan, selection: Selection, seeds: Sequence[int], folder: Path) -> list[dict[str, Any]]:
    """Write the named latents of the selected SAEs, and list the SAEs with those that earlier exports left there.

    The folder of an SAE is replaced where its files differ from what is exported now, and kept where they are equal.

    Args:
        plan: plan of the study.
        selection: cells to export.
        seeds: SAE seeds to export; all if empty.
        folder: parent of the folders of all SAEs.

    Returns:
        Entries of the selected SAEs, with the number of their latents and examples.

    Raises:
        EmergenceError: no SAE is selected, or the latents of one are not made, or their tables are damaged; the folder
            holds an export in another layout, or other files where an SAE belongs; or the disk is full.
    """
    earlier = earlier_entries(folder, LAYOUT)
    chosen = selected_seeds(plan, seeds)
    study, written = plan.study, []
    for cell in selected_cells(plan, LATENT_EXAMPLES, selection, "The examples of latents"):
        path = LATENT_EXAMPLES.path(plan.storage, cell)
        fingerprint = Provenance.from_json(table_provenance(path) or "", path).fingerprint
        named = read_table(table_path(plan.storage, NAMED_LATENTS, cell), NAMED_LATENTS)
        examples = read_table(path, EXAMPLES)
        for seed in chosen:
            of_sae = (pl.col("control_id") == "none") & (pl.col("sae_seed") == seed)
            own, shown = named.filter(of_sae), examples.filter(of_sae)
            model, step, layer = cell.at_layer
            source = Source(model, step, layer, seed, study.name, _dataset(study))
            lines = [_json(one, path) for one in explanations(source, own, fingerprint)]
            contents = {
                BATCH_NAME: _json(batch(source, own, shown), path),
                EXPLANATIONS_NAME: "".join(f"{line}\n" for line in lines),
            }
            name = folder_name(cell, seed)
            with clear_disk_errors(folder), TemporaryDirectory() as new:
                for file, content in contents.items():
                    (Path(new) / file).write_text(content, encoding="utf-8")
                place(Path(new), folder / name)
            entry = {"folder": name, "source_id": source.id, "model": model, "step": step, "layer": layer, "seed": seed}
            written.append(entry | {"latents": own.height, "examples": shown.height, "fingerprint": fingerprint})
    every = earlier | {entry["folder"]: entry for entry in written}
    names = {"batch": BATCH_NAME, "explanations": EXPLANATIONS_NAME, "method": METHOD}
    write_index(folder, LAYOUT, every.values(), CARD.format(study=study.name, n_saes=len(every), **names))
    return written


def _dataset(study: Study) -> str:
    """Name the probe texts; of a user's file without its folder."""
    declared = study.probe_set
    if isinstance(declared, WordNetProbes):
        return "WordNet glosses"
    if isinstance(declared, MMLUProbes) and declared.path is None:
        return declared.repository
    return Path(str(declared.path)).name


def _json(value: Any, path: Path) -> str:
    """Return JSON in ASCII, with escapes for all that would break a line of text or change its direction."""
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError:
        raise EmergenceError(
            "The table holds a number that is not finite, which JSON lacks.",
            where=path,
            remedy="select other cells with --model, --step, --layer",
        ) from None
