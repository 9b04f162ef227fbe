"""sparsify: its Trainer on a language model, all layers and seeds from one forward pass. Runs in `.peers`."""

from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peers_stream import Settings, first_position_ids
from sparsify import SparseCoderConfig, TrainConfig, Trainer
from torch import Tensor


def train(model: Any, ids_bt: Tensor, settings: Settings, folder: Path) -> dict[str, Any]:
    """Train all SAEs with the library's defaults but for the settings; returns layer/seed → function of rows."""
    config = TrainConfig(
        SparseCoderConfig(num_latents=settings.n_latents, k=settings.k),
        batch_size=settings.batch_size // ids_bt.shape[1],
        optimizer="adam",
        lr=settings.learning_rate,
        lr_warmup_steps=0,
        layers=list(settings.layers),
        init_seeds=list(settings.seeds),
        exclude_tokens=first_position_ids(ids_bt),
        log_to_wandb=False,
        save_dir=str(folder),
    )
    trainer = Trainer(config, Dataset.from_dict({"input_ids": ids_bt.tolist()}).with_format("torch"), model)
    trainer.fit()
    torch.set_float32_matmul_precision("highest")

    def reconstruct(coder: Any) -> Any:
        return lambda x_td: coder(x_td).sae_out

    return {name.split(".")[-1].replace("/seed", "/"): reconstruct(coder) for name, coder in trainer.saes.items()}
