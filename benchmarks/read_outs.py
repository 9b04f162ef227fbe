"""Where a text is read, and how sparsely: presence net of random directions for several read-outs and SAE designs.

Two sizes of the embedded family at step 0 and at the last step, or a pretrained model and its untrained shape. A design
is a choice of rows (the last token, the mean over the tokens, all tokens with codes pooled over the text), of a
transformation of these rows, and of an SAE.

Shape suffixes: p texts, t tokens (rows), d d_model, c categories, b bootstrap replicates.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track
from scipy.sparse import csr_matrix
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, PreTrainedModel

from emergence_assets.activations.forward.capture import padded_ids
from emergence_assets.checkpoints.models.stream import residual_stream
from emergence_assets.checkpoints.training.settings import ModelShape, TrainingRecipe
from emergence_assets.checkpoints.training.training import train
from emergence_assets.emergence.presence.seed_draws import nested_means
from emergence_assets.features.statistics.codes import Codes
from emergence_assets.features.statistics.formulas import interval
from emergence_assets.features.statistics.labels import Labels, text_weights
from emergence_assets.features.statistics.presence_cell import score_labelling
from emergence_assets.saes.model.random_encoder import random_encoder
from emergence_assets.saes.model.sae import SAE
from emergence_assets.saes.quality.overlap import matched_cosine, shared_fraction
from emergence_assets.saes.quality.quality import measure_quality
from emergence_assets.saes.quality.spectrum import MAX_ROWS, row_spectrum
from emergence_assets.saes.training.batches import SAEJob
from emergence_assets.saes.training.training import train_saes
from emergence_assets.study.sae import SAESettings
from emergence_assets.texts.probe_set import ProbeSet, wordnet_probes, wordnet_training_texts
from emergence_assets.texts.wordnet import corpus

MODELS = {"gloss-200k": (ModelShape(64, 4, 4), 4e-3, 1), "gloss-671k": (ModelShape(96, 6, 4), 2.5e-3, 5)}
"""Shape, learning rate and the layer that is read."""
LAST_STEP = 2000
N_SEEDS, N_BOOT = 4, 200
Floats = np.ndarray


@dataclass(frozen=True)
class Design:
    """One way to read texts and to train SAEs on them."""

    rows: str = "last"
    """`last`, `mean` or `all` tokens."""
    sae: dict[str, Any] = field(default_factory=lambda: {"k": 4})
    change: str = ""
    """`leading 2` removes as many leading directions, `whitened` gives all directions equal variance."""
    pooled: tuple[str, ...] = ("",)
    """How the codes of all tokens become codes of a text: `max`, `mean`, `any`."""


DESIGNS = {
    **{f"last token, TopK {k}": Design(sae={"k": k}) for k in (16, 8, 4, 2)},
    "last token, TopK 4, 128 latents": Design(sae={"k": 4, "n_latents": 128}),
    "last token, BatchTopK 4": Design(sae={"k": 4, "variant": "batchtopk"}),
    "last token without 2 leading directions, TopK 4": Design(change="leading 2"),
    "last token, whitened, TopK 4": Design(change="whitened"),
    "mean over tokens, TopK 4": Design("mean"),
    "all tokens, TopK 4": Design("all", pooled=("max", "mean", "any")),
}
WIDER = {f"last token, TopK {k}, 2,048 latents": Design(sae={"k": k, "n_latents": 2048}) for k in (32, 16, 4)}
"""Further designs for a residual stream of hundreds of dimensions."""


def measure_read_outs(folder: Path) -> dict[str, Any]:
    """Measure every design on the embedded family; a row per model and design. About ten minutes.

    Args:
        folder: folder of the trained models, which are kept for the next measurement.
    """
    probes = wordnet_probes(200, 0)
    tokenizer = Tokenizer.from_file(str(corpus.TOKENIZER_PATH))
    ids = _token_ids(tokenizer, probes, 6000)
    found = {}
    for model, (shape, learning_rate, layer) in MODELS.items():
        checkpoints = folder / model
        checkpoints.mkdir(parents=True, exist_ok=True)
        train(TrainingRecipe(shape, learning_rate, LAST_STEP), checkpoints, [0, LAST_STEP], lambda *_: None)
        models = [AutoModelForCausalLM.from_pretrained(checkpoints / f"step{step}") for step in (0, LAST_STEP)]
        ends = [[_captured(one, some, [layer])[layer] for some in ids] for one in models]
        found |= _rows_of(model, DESIGNS, ends, probes, layer)
    return found


def measure_pretrained_read_outs(folder: Path, layers: Sequence[int]) -> dict[str, Any]:
    """Measure every design on the last token of a pretrained decoder, against its shape with random weights.

    The texts are those of the embedded family, a third as many. The untrained model has the weights of `from_config`.

    Args:
        folder: folder with config.json, weights and tokenizer.json.
        layers: blocks whose output is read.
    """
    probes = wordnet_probes(60, 0)
    ids = _token_ids(Tokenizer.from_file(str(folder / "tokenizer.json")), probes, 3000)
    trained = AutoModelForCausalLM.from_pretrained(folder)
    torch.manual_seed(0)
    models = [AutoModelForCausalLM.from_config(trained.config), trained]
    ends = [[_captured(one, some, layers, last_only=True) for some in ids] for one in models]
    designs = {name: design for name, design in (DESIGNS | WIDER).items() if design.rows == "last"}
    found = {}
    for layer in layers:
        of_layer = [[captured[layer] for captured in end] for end in ends]
        found |= _rows_of(f"{folder.name}, layer {layer}", designs, of_layer, probes, layer)
    return found


def _token_ids(tokenizer: Tokenizer, probes: ProbeSet, n_training_texts: int) -> list[list[Floats]]:
    """Return the token ids of the probe texts and of the training texts."""
    texts = [probes.texts["text"].to_list(), wordnet_training_texts(n_training_texts, 0)["text"].to_list()]
    return [[np.array(one.ids) for one in tokenizer.encode_batch(some)] for some in texts]


def _rows_of(
    model: str, designs: Mapping[str, Design], ends: Sequence[Any], probes: ProbeSet, layer: int
) -> dict[str, Any]:
    rows = [(name, design, how) for name, design in designs.items() for how in design.pooled]
    return {
        f"{model}, {name}{how and f', {how}'}": _row(design, how, ends, probes, layer)
        for name, design, how in track(rows, f"{model}: designs")
    }


def _captured(
    model: PreTrainedModel, ids: Sequence[Floats], layers: Sequence[int], *, last_only: bool = False
) -> dict[int, tuple[Floats, Floats]]:
    """Return by layer the residual stream at all tokens but the first, or at the last token, and the text of a row."""
    model = model.float().eval()
    rows: dict[int, list[Floats]] = {layer: [np.empty(0)] * len(ids) for layer in layers}
    order = np.argsort([-len(one) for one in ids], kind="stable")
    with residual_stream(model, layers) as resid, torch.inference_mode():
        for chosen in track(np.array_split(order, max(1, len(order) // 64)), "forward passes"):
            model.base_model(input_ids=padded_ids([ids[text] for text in chosen]), use_cache=False)
            for place, text in enumerate(chosen):
                first = len(ids[text]) - 1 if last_only else 1
                for layer in layers:
                    rows[layer][text] = resid[layer][place, first : len(ids[text])].numpy().copy()
    n_rows = [len(one) for one in rows[layers[0]]]
    return {layer: (np.concatenate(each), np.repeat(np.arange(len(ids)), n_rows)) for layer, each in rows.items()}


def _row(design: Design, how: str, ends: Sequence[Any], probes: ProbeSet, layer: int) -> dict[str, Any]:
    is_select = (probes.texts["split"] == "select").to_numpy()
    unit_p = probes.texts["unit"].rank("dense").to_numpy().astype(np.int64) - 1
    labels = [Labels.from_values(level, probes.texts[level].to_list(), is_select, unit_p) for level in probes.levels]
    settings = SAESettings.model_validate({"n_latents": 512, "n_steps": 200, "batch_size": 1024} | design.sae)
    presence: dict[str, list[tuple[Floats, Floats]]] = {level.level: [] for level in labels}
    about: dict[str, Any] = {}
    for step, (probe, training) in zip((0, LAST_STEP), ends, strict=True):
        (read_td, text_t), train_td = _rows(design, probe), _rows(design, training)[0]
        change = _change(design.change, train_td)
        read_td, train_td = change(read_td), change(train_td)
        jobs = [SAEJob(torch.from_numpy(train_td), seed * 1_000 + layer + 1) for seed in range(N_SEEDS)]
        saes = [made.sae for made in train_saes(jobs, settings)]
        mean_d = torch.from_numpy(train_td.mean(axis=0))
        random = [random_encoder(mean_d, settings.n_latents, settings.k, 70_000 + draw) for draw in range(N_SEEDS)]
        for kind, dictionaries in (("sae", saes), ("random", random)):
            codes = [_codes(one, read_td, text_t, how, len(is_select)) for one in dictionaries]
            for level in labels:
                presence[level.level].append(_presence(codes, level, (kind, step)))
        about = _agreement(saes, read_td, train_td)
    net = {level: _net(found) for level, found in presence.items()}
    of_subjects = [mean_c.mean() for mean_c, _ in presence["subject"]]
    return {
        **about,
        "presence": f"{of_subjects[0]:.3f} to {of_subjects[2]:.3f}",
        "random": f"{of_subjects[1]:.3f} to {of_subjects[3]:.3f}",
        "net growth": round(float(net["subject"][0].mean()), 3),
        "above 0": sum(int((interval(replicates_cb)[0] > 0).sum()) for _, replicates_cb in net.values()),
        "of": sum(len(growth_c) for growth_c, _ in net.values()),
    }


def _rows(design: Design, captured: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
    rows_td, text_t = captured
    if design.rows == "all":
        return rows_td, text_t
    if design.rows == "last":
        return rows_td[np.append(text_t[1:] != text_t[:-1], True)], np.unique(text_t)
    n_t = np.bincount(text_t)
    sums_pd = csr_matrix((np.ones(len(text_t), np.float32), (text_t, np.arange(len(text_t))))) @ rows_td
    return sums_pd / n_t[:, None].astype(np.float32), np.arange(len(n_t))


def _change(name: str, rows_td: Floats) -> Callable[[Floats], Floats]:
    if not name:
        return np.ascontiguousarray
    mean_d = rows_td.mean(axis=0)
    variance_d, direction_dd = np.linalg.eigh(np.cov((rows_td - mean_d).T.astype(np.float64)))
    if name == "whitened":
        matrix_dd = direction_dd / np.sqrt(np.maximum(variance_d, 1e-3 * variance_d[-1]))
    else:
        kept_dd = direction_dd[:, : -int(name.removeprefix("leading "))]
        matrix_dd = kept_dd @ kept_dd.T
    return lambda some_td: ((some_td - mean_d) @ matrix_dd).astype(np.float32)


def _codes(sae: SAE, read_td: Floats, text_t: Floats, how: str, n_texts: int) -> Codes:
    """Encode rows; pool the codes of all tokens of a text."""
    values, indices = (part.numpy() for part in sae.encode(torch.from_numpy(read_td)).padded())
    row, column = np.nonzero(values > 0)
    value, latent, text = values[row, column], indices[row, column].astype(np.int64), text_t[row].astype(np.int64)
    pair, which = np.unique(text * sae.n_latents + latent, return_inverse=True)
    pooled = np.zeros(len(pair), np.float32)
    np.maximum.at(pooled, which, value)
    if how == "mean":
        pooled = (np.bincount(which, value) / np.bincount(text_t, minlength=n_texts)[pair // sae.n_latents]).astype(
            "f4"
        )
    elif how == "any":
        pooled[:] = 1
    table = csr_matrix((pooled, (pair // sae.n_latents, pair % sae.n_latents)), (n_texts, sae.n_latents))
    n_active = np.diff(table.indptr)
    place = np.repeat(np.arange(n_texts), n_active), np.arange(table.nnz) - np.repeat(table.indptr[:-1], n_active)
    wide = np.zeros((2, n_texts, n_active.max()))
    wide[0][place], wide[1][place] = table.data, table.indices
    return Codes(wide[0].astype(np.float32), wide[1].astype(np.int32), sae.n_latents)


def _presence(codes: Sequence[Codes], level: Labels, key: tuple[Any, ...]) -> tuple[Floats, Floats]:
    """Return presence, mean over dictionaries, and its replicates, for the categories with enough texts."""
    kept, weights_pb = np.flatnonzero(level.is_usable(5)), text_weights(level, N_BOOT, 0)
    select, score = (level.rows(select=side) for side in (True, False))
    found = [score_labelling(one.entries(select), one.entries(score), level, kept, weights_pb) for one in codes]
    values_cq = np.stack([one.p_best_c[kept] for one in found], axis=1)
    replicates_cqb = np.stack([one.replicates_cb[kept] for one in found], axis=1)
    n = len(kept)
    flat = replicates_cqb.reshape(n * len(codes), -1)
    blocks = [key] * n, [(level.level,)] * n
    return values_cq.mean(axis=1), nested_means(flat, values_cq.ravel(), np.full(n, len(codes)), *blocks)


def _net(found: Sequence[tuple[Floats, Floats]]) -> tuple[Floats, Floats]:
    """Return net growth and its replicates from SAEs and random encoders at both ends."""
    growth_c, replicates_cb = (
        (last - random_last) - (first - random_first)
        for first, random_first, last, random_last in zip(*found, strict=True)
    )
    return growth_c, replicates_cb


def _agreement(saes: Sequence[SAE], read_td: Floats, train_td: Floats) -> dict[str, Any]:
    quality = [measure_quality(sae, read_td) for sae in saes[:2]]
    fires = [torch.from_numpy(one.firings_n > 0) for one in quality]
    return {
        "dimension": round(row_spectrum(train_td[:: max(1, -(-len(train_td) // MAX_ROWS))]).participation_ratio, 1),
        "FVU": round(quality[0].fvu, 3),
        "shared": round(shared_fraction(saes[0], saes[1], fires[0]), 2),
        "PW-MCC": round(matched_cosine(saes[0], saes[1], *fires), 2),
    }
