"""One forward pass of a checkpoint over the probe texts: decompose late latents and ablate early latents.

Each batch of texts of one length is run once up to its last token. The last token is then run unchanged, with the
outputs of all modules between the layers recorded, and again with the changes of all categories, SAE seeds and controls
together.

Shape suffixes: n targets, p texts, b texts of a batch, r changed texts, v changes of a target, l blocks, h heads,
d d_model.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from emergence_assets.activations.forward.ablation import Changes, Prefix, changed_read_outs, read_outs, run_prefix
from emergence_assets.activations.forward.contributions import (
    Contributions,
    parts_add_up,
    parts_of,
    recorded_contributions,
)
from emergence_assets.activations.forward.equal_lengths import batches_of_one_length
from emergence_assets.checkpoints.models.facts import n_heads
from emergence_assets.emergence.mechanism.contrast import PARTS
from emergence_assets.saes.model.sae import SAE

SAEs = Mapping[tuple[int, int], SAE]
"""SAE by (layer, seed)."""


@dataclass(frozen=True, eq=False)
class Target:
    """One category and SAE seed: a late latent, and an early latent on which it may depend."""

    category: int
    """Index of the category in the labels."""
    seed: int
    early_layer: int
    trough_layer: int
    late_layer: int
    late_latent: int
    changed_latents_v: NDArray[np.integer]
    """Latents of the early layer: the early latent, the early latent again for resampling, and its controls."""
    new_value_vp: NDArray[np.float32]
    """New activation of each changed latent on every text: zero, except for resampling."""


@dataclass(frozen=True, eq=False)
class Measured:
    """Measurements of one target; texts in the order of the argument."""

    parts_xp: NDArray[np.float32] | None
    """Parts of the late latent's pre-activation, see `contrast.PARTS`; None for an unknown architecture."""
    heads_lh: NDArray[np.float64] | None
    """Contrast of every head of the blocks `layers`, 0 unless between trough and late layer; None if unknown."""
    layers: tuple[int, ...]
    clean_p: NDArray[np.float32]
    """Activation of the late latent; NaN on texts of other categories, which are not changed."""
    changed_vp: NDArray[np.float32]
    """Activation of the late latent after each change."""
    fires_vp: NDArray[np.bool_]
    """Whether the changed latent was active."""


@torch.no_grad()
def measure_mechanism(
    model: PreTrainedModel,
    texts: Sequence[np.ndarray],
    category_p: NDArray[np.integer],
    targets: Sequence[Target],
    saes: SAEs,
    batch_size: int,
    device: torch.device | str = "cpu",
    report: Callable[[int, int, str], None] = lambda done, total, note: None,
    blocks_name: str | None = None,
) -> list[Measured]:
    """Run the texts once and measure all targets.

    Args:
        model: causal model in evaluation mode, on `device`.
        texts: token ids, the read-out token last.
        category_p: category of every text.
        targets: at least one target.
        saes: SAEs of the early and late layers and seeds of the targets, on `device`.
        batch_size: texts per forward pass.
        device: device of the model.
        report: called with texts done, all texts, and a note.
        blocks_name: module path of the list of blocks; detected by default.
    """
    _, shortest_1t = next(batches_of_one_length([min(texts, key=len)], 1, device))
    is_known = parts_add_up(model, shortest_1t, blocks_name)
    found, done = _Accumulator(model, targets, saes, category_p, device, blocks_name, is_known), 0
    for chosen, ids_bt in batches_of_one_length(texts, batch_size, device):
        found.add(chosen, ids_bt)
        done += len(chosen)
        report(done, len(texts), "probe texts")
    return found.measured()


class _Accumulator:
    """Measurements of all targets, summed over the batches so far."""

    def __init__(
        self,
        model: PreTrainedModel,
        targets: Sequence[Target],
        saes: SAEs,
        category_p: NDArray[np.integer],
        device: torch.device | str,
        blocks_name: str | None,
        is_known: bool,
    ):
        self.model, self.targets, self.saes, self.blocks_name = model, targets, saes, blocks_name
        self.is_known = is_known
        self.device, self.category_p = torch.device(device), category_p
        self.category_n = np.array([one.category for one in targets])
        self.first = min(one.trough_layer for one in targets) + 1
        self.last = max(one.late_layer for one in targets)
        blocks_l = torch.arange(self.first, self.last + 1)[:, None]
        trough_n = torch.tensor([one.trough_layer for one in targets])
        late_n = torch.tensor([one.late_layer for one in targets])
        self.between_ln = ((blocks_l > trough_n) & (blocks_l <= late_n)).float().to(self.device)
        self.encoder_nd = torch.stack(
            [self.saes[one.late_layer, one.seed].W_enc_nd[one.late_latent] for one in targets]
        )
        n_texts, n_targets = len(category_p), len(targets)
        self.parts_nxp = np.full((n_targets, len(PARTS), n_texts), np.nan, np.float32)
        parts = parts_of(model, blocks_name) if is_known else None
        heads = n_heads(model) if parts and parts.projection else 0
        self.heads_nslh = np.zeros((n_targets, 2, self.last - self.first + 1, heads))
        n_changes = len(targets[0].changed_latents_v)
        self.clean_np = np.full((n_targets, n_texts), np.nan, np.float32)
        self.changed_nvp = np.full((n_targets, n_changes, n_texts), np.nan, np.float32)
        self.fires_nvp = np.zeros((n_targets, n_changes, n_texts), bool)
        reads = {layer for one in targets for layer in (one.early_layer, one.trough_layer, one.late_layer)}
        self.reads, self.late_layers = sorted(reads), sorted({one.late_layer for one in targets})

    def add(self, texts_b: NDArray[np.intp], ids_bt: Tensor) -> None:
        """Run one batch and add its measurements."""
        prefix = run_prefix(self.model, ids_bt, self.blocks_name)
        recording = (
            recorded_contributions(self.model, self.first, self.last, self.blocks_name)
            if self.is_known
            else nullcontext()
        )
        with recording as recorder:
            clean = read_outs(prefix, self.reads)
            if recorder is not None:
                self._decompose(texts_b, clean, recorder.contributions())
        self._run_changes(texts_b, prefix, clean)

    def _decompose(self, texts_b: NDArray[np.intp], clean: Mapping[int, Tensor], found: Contributions) -> None:
        start_nb = torch.stack(
            [clean[one.trough_layer].float() @ row_d for one, row_d in zip(self.targets, self.encoder_nd, strict=True)]
        )
        self.parts_nxp[:, 0, texts_b] = start_nb.cpu().numpy()
        for position, added_lbd in ((1, found.attention_lbd), (2, found.mlp_lbd)):
            part_nb = torch.einsum("lbd,nd,ln->nb", added_lbd, self.encoder_nd, self.between_ln)
            self.parts_nxp[:, position, texts_b] = part_nb.cpu().numpy()
        if found.heads_lbhd is None:
            return
        is_own_nb = torch.from_numpy(self.category_n[:, None] == self.category_p[texts_b]).to(self.device)
        side_snb = torch.stack([is_own_nb, ~is_own_nb]).float()
        onto_lbhn = torch.einsum("lbhd,nd->lbhn", found.heads_lbhd, self.encoder_nd)
        sums_nslh = torch.einsum("lbhn,snb,ln->nslh", onto_lbhn, side_snb, self.between_ln)
        self.heads_nslh += sums_nslh.double().cpu().numpy()

    def _run_changes(self, texts_b: NDArray[np.intp], prefix: Prefix, clean: Mapping[int, Tensor]) -> None:
        """Run the changes of all targets whose category has a text in the batch."""
        target_i, text_i = np.nonzero(self.category_n[:, None] == self.category_p[texts_b])
        clean_i = self._late(target_i, {layer: clean[layer][text_i] for layer in self.late_layers})
        self.clean_np[target_i, texts_b[text_i]] = clean_i
        self.changed_nvp[target_i, :, texts_b[text_i]] = clean_i[:, None]
        rows, added = [], []
        for layer, seed in {(self.targets[one].early_layer, self.targets[one].seed) for one in set(target_i.tolist())}:
            sae = self.saes[layer, seed]
            codes_bm = sae.encode(clean[layer]).dense(sae.n_latents).cpu().numpy()
            is_here_n = np.array([one.early_layer == layer and one.seed == seed for one in self.targets])
            here = np.flatnonzero(is_here_n[target_i])
            target, text = target_i[here], text_i[here]
            latents_iv = np.stack([self.targets[one].changed_latents_v for one in target])
            value_iv = codes_bm[text[:, None], latents_iv]
            new_iv = np.stack(
                [self.targets[one].new_value_vp[:, place] for one, place in zip(target, texts_b[text], strict=True)]
            )
            self.fires_nvp[target, :, texts_b[text]] = value_iv > 0
            i, v = np.nonzero(new_iv != value_iv)
            rows.append(np.stack([target[i], v, text[i], np.full(len(i), layer)]))
            by_r = torch.from_numpy(new_iv[i, v] - value_iv[i, v]).to(self.device)
            added.append(by_r[:, None] * sae.W_dec_nd[torch.from_numpy(latents_iv[i, v]).long().to(self.device)])
        if not rows:
            return
        target_r, v_r, text_r, layer_r = np.concatenate(rows, axis=1)
        changes = Changes(
            torch.from_numpy(text_r).to(self.device), torch.from_numpy(layer_r).to(self.device), torch.cat(added)
        )
        changed = changed_read_outs(prefix, changes, self.late_layers)
        self.changed_nvp[target_r, v_r, texts_b[text_r]] = self._late(target_r, changed)

    def _late(self, target_r: NDArray[np.integer], stream: Mapping[int, Tensor]) -> NDArray[np.float32]:
        """Return the activation of each row's late latent; `stream` is the residual stream by late layer."""
        late_r = np.zeros(len(target_r), np.float32)
        where = np.array([(self.targets[one].late_layer, self.targets[one].seed) for one in target_r]).reshape(-1, 2)
        for layer, seed in np.unique(where, axis=0).tolist():
            sae = self.saes[layer, seed]
            here = np.flatnonzero((where == (layer, seed)).all(axis=1))
            latent_r = torch.tensor([self.targets[one].late_latent for one in target_r[here]], device=self.device)
            codes_rm = sae.encode(stream[layer][torch.from_numpy(here).to(self.device)]).dense(sae.n_latents)
            late_r[here] = codes_rm.gather(1, latent_r[:, None]).squeeze(1).cpu().numpy()
        return late_r

    def measured(self) -> list[Measured]:
        """Return the measurements of every target."""
        is_own_np = self.category_n[:, None] == self.category_p
        count_ns = np.stack([is_own_np.sum(1), (~is_own_np).sum(1)], axis=1)
        mean_nslh = self.heads_nslh / np.maximum(count_ns, 1)[:, :, None, None]
        heads_nlh = mean_nslh[:, 0] - mean_nslh[:, 1]
        return [
            Measured(
                self.parts_nxp[n] if self.is_known else None,
                heads_nlh[n] if heads_nlh.shape[2] else None,
                tuple(range(self.first, self.last + 1)),
                self.clean_np[n],
                self.changed_nvp[n],
                self.fires_nvp[n],
            )
            for n in range(len(self.targets))
        ]
