"""SAELens: `SAETrainer.step` with a TopKTrainingSAE, as its `fit` calls it. Runs in `.peers`."""

import torch
from peers_train import Task, Trainer
from sae_lens.config import LoggingConfig, SAETrainerConfig
from sae_lens.saes.topk_sae import TopKTrainingSAE, TopKTrainingSAEConfig
from sae_lens.training.sae_trainer import SAETrainer
from torch import Tensor


def trainer(task: Task) -> Trainer:
    """Trainer with the defaults of the library, except for the settings of the task."""
    return _SAELens(task)


class _SAELens:
    def __init__(self, task: Task):
        n_latents, d_model = task.W_dec_nd.shape
        # Its sparse activations do not run backwards on a CPU with this torch; dense ones are its default.
        self.sae = TopKTrainingSAE(
            TopKTrainingSAEConfig(d_in=d_model, d_sae=n_latents, k=task.k, device=task.device, dtype="float32")
        )
        if task.W_enc_nd is not None:
            self._start(task, task.W_enc_nd)
        config = SAETrainerConfig(
            total_training_samples=task.n_steps * task.batch_size,
            train_batch_size_samples=task.batch_size,
            lr=task.learning_rate,
            lr_end=task.learning_rate,
            device=task.device,
            logger=LoggingConfig(log_to_wandb=False),
        )
        self.trainer = SAETrainer(cfg=config, sae=self.sae, data_provider=iter(()))

    @torch.no_grad()
    def _start(self, task: Task, W_enc_nd: Tensor) -> None:
        self.sae.W_dec.copy_(task.W_dec_nd)
        self.sae.W_enc.copy_(W_enc_nd.T)
        self.sae.b_dec.copy_(task.b_dec_d)
        self.sae.b_enc.zero_()

    def step(self, x_td: Tensor) -> None:
        self.trainer.maybe_reset_sparsity()
        self.trainer.step(x_td)
        self.trainer.n_training_steps += 1

    def reconstruct(self, x_td: Tensor) -> Tensor:
        return self.sae(x_td)
