"""sparsify: SparseCoder with torch's Adam and the calls of one step of its Trainer. Runs in `.peers`.

The Trainer itself accepts transformers models and no rows. On a GPU the coder always computes in bfloat16.
"""

import torch
from peers_train import Task, Trainer
from sparsify import SparseCoder, SparseCoderConfig
from torch import Tensor


def trainer(task: Task) -> Trainer:
    """Trainer with the defaults of the library, except for the settings of the task."""
    return _Sparsify(task)


class _Sparsify:
    def __init__(self, task: Task):
        n_latents, d_model = task.W_dec_nd.shape
        config = SparseCoderConfig(num_latents=n_latents, k=task.k)
        self.coder = SparseCoder(d_model, config, device=task.device, dtype=torch.float32)
        with torch.no_grad():
            self.coder.b_dec.copy_(task.b_dec_d)  # its own start too, of the first batch
            if task.W_enc_nd is not None:
                self.coder.W_dec.copy_(task.W_dec_nd)
                self.coder.encoder.weight.copy_(task.W_enc_nd)
                self.coder.encoder.bias.zero_()
        self.optimiser = torch.optim.Adam(self.coder.parameters(), lr=task.learning_rate)
        self.n_tokens_since_fired_n = torch.zeros(n_latents, dtype=torch.long, device=task.device)

    def step(self, x_td: Tensor) -> None:
        self.coder.set_decoder_norm_to_unit_norm()
        total_variance = (x_td - x_td.mean(0)).pow(2).sum()
        out = self.coder(x=x_td, y=x_td, dead_mask=None, total_variance=total_variance)
        has_fired_n = torch.zeros_like(self.n_tokens_since_fired_n, dtype=torch.bool)
        has_fired_n[out.latent_indices.flatten()] = True
        float(out.fvu.detach())
        out.fvu.backward()
        self.coder.remove_gradient_parallel_to_decoder_directions()
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.n_tokens_since_fired_n += len(x_td)
        self.n_tokens_since_fired_n[has_fired_n] = 0

    def reconstruct(self, x_td: Tensor) -> Tensor:
        self.coder.set_decoder_norm_to_unit_norm()
        return self.coder(x_td).sae_out
