"""SAELens: its runner for a language model, which trains one SAE per run. Runs in `.peers`."""

from pathlib import Path
from typing import Any

from datasets import Dataset
from peers_stream import Settings
from sae_lens import LanguageModelSAERunnerConfig, LanguageModelSAETrainingRunner, LoggingConfig, TopKTrainingSAEConfig
from torch import Tensor


def train(model: Any, ids_bt: Tensor, settings: Settings, folder: Path) -> dict[str, Any]:
    """Train the SAE of the first layer and seed with the library's defaults but for the settings."""
    layer, d_model = settings.layers[0], model.config.hidden_size
    config = LanguageModelSAERunnerConfig(
        sae=TopKTrainingSAEConfig(d_in=d_model, d_sae=settings.n_latents, k=settings.k, device="cpu", dtype="float32"),
        model_name=settings.model,
        model_class_name="AutoModelForCausalLM",
        hook_name=f"model.layers.{layer}",
        is_dataset_tokenized=True,
        streaming=False,
        dataset_path="tokens",
        context_size=ids_bt.shape[1],
        prepend_bos=False,
        training_tokens=settings.n_steps * settings.batch_size,
        train_batch_size_tokens=settings.batch_size,
        store_batch_size_prompts=settings.batch_size // ids_bt.shape[1],
        n_batches_in_buffer=16,
        lr=settings.learning_rate,
        seed=settings.seeds[0],
        logger=LoggingConfig(log_to_wandb=False),
        checkpoint_path=None,
        output_path=None,
        n_eval_batches=1,
        device="cpu",
    )
    dataset = Dataset.from_dict({"input_ids": ids_bt.tolist()}).with_format("torch")
    sae = LanguageModelSAETrainingRunner(config, override_dataset=dataset).run()
    return {f"{layer}/{settings.seeds[0]}": sae}
