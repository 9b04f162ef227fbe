"""Train one small GPT-NeoX on the embedded corpus and write its checkpoints. Imports torch.

All sizes see the same tokens in the same order, as in Pythia (Biderman et al. 2023). Within one environment a run is
deterministic given its settings: a run that was killed and restarted writes the same bytes.
"""

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from emergence_assets.checkpoints.files.folder import step_folder_name
from emergence_assets.checkpoints.models.fixed_text import mean_loss
from emergence_assets.checkpoints.training.run_files import (
    check_same_weights,
    environment_identity,
    only_writer,
    read_validation_loss,
    run_identity,
    write_checkpoint,
)
from emergence_assets.checkpoints.training.settings import (
    ModelShape,
    TrainingRecipe,
    check_recipe,
    corpus_windows,
    learning_rate,
    window_order,
)
from emergence_assets.checkpoints.training.training_state import TrainingState
from resources.errors import EmergenceError
from resources.progress import Report

__all__ = ["ModelShape", "TrainingOutcome", "TrainingRecipe", "train"]
N_VALIDATION_WINDOWS = 256


@dataclass(frozen=True)
class TrainingOutcome:
    """Result of one call of `train`."""

    written_steps: tuple[int, ...]
    """Steps of the checkpoints that this call wrote."""
    resumed_from: int | None
    """Step at which this call resumed; None if it started at step 0 or computed nothing."""
    validation_losses: dict[int, float]
    """Validation loss on held-out windows in nats per token, for every requested step."""
    tokens_per_second: float
    """Speed of this call, with the time for checkpoints; 0 if it computed nothing."""


def train(
    recipe: TrainingRecipe,
    folder: Path,
    steps: Sequence[int],
    report: Report = lambda done, total, note: None,
    *,
    resume_every: int = 100,
) -> TrainingOutcome:
    """Train a model and write a checkpoint for each of `steps` that `folder` lacks.

    Args:
        recipe: settings of the run.
        folder: folder of this run alone; created if missing.
        steps: steps of the requested checkpoints, up to `recipe.n_steps`. Training stops at the last step.
        report: called with (step, last step, note) during the run.
        resume_every: steps between two states to resume from.

    Returns:
        The outcome. If every checkpoint exists already, nothing is computed.

    Raises:
        EmergenceError: the folder holds another run, a damaged checkpoint, or weights that this environment does not
            reproduce; another process trains here; the settings are impossible; training diverged.
    """
    folder_of = {step: folder / step_folder_name(step) for step in sorted(set(steps)) if step >= 0}
    check_recipe(recipe, sorted(steps))
    identity, last = run_identity(recipe), max(steps)
    folder.mkdir(parents=True, exist_ok=True)
    with only_writer(folder), _deterministic():
        present = {step for step, step_folder in folder_of.items() if step_folder.exists()}
        losses = {step: read_validation_loss(folder_of[step], identity) for step in sorted(present)}
        missing = folder_of.keys() - present
        state = TrainingState(folder / "resume.safetensors", environment_identity(identity))
        if not missing:
            state.remove()
            return TrainingOutcome((), None, losses, 0.0)

        run = _Run(recipe)
        # In another environment from step 0; `check_same_weights` then compares it by existing checkpoints.
        run.step = state.load(run.tensors())
        if run.step > min(missing):
            run = _Run(recipe)
        began_at, began, written = run.step, time.perf_counter(), []
        while True:
            if run.step in missing:
                losses[run.step] = run.validation_loss()
                notes = {
                    "step": run.step,
                    "tokens_seen": run.step * recipe.tokens_per_step,
                    "validation_loss": losses[run.step],
                    "seed": recipe.seed,
                }
                weights = run.stored_weights()
                write_checkpoint(folder_of[run.step], run.config_text(), weights, recipe.context, notes, identity)
                written.append(run.step)
            elif run.step in present:
                check_same_weights(folder_of[run.step], run.stored_weights())
            is_due = run.step % resume_every == 0 and run.step > began_at
            if is_due and run.step < last:
                state.save(run.step, run.tensors())
            if run.step in folder_of:
                report(run.step, last, f"validation loss {losses[run.step]:.3f}")
            elif is_due:
                report(run.step, last, "")
            if run.step == last:
                break
            run.advance()
        state.remove()
        n_tokens = (last - began_at) * recipe.tokens_per_step
        tokens_per_second = n_tokens / (time.perf_counter() - began)
        return TrainingOutcome(tuple(written), began_at or None, dict(sorted(losses.items())), tokens_per_second)


class _Run:
    """Model, optimiser and data of a run at its current step."""

    def __init__(self, recipe: TrainingRecipe):
        self.recipe = recipe
        self.step = 0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            self.model = GPTNeoXForCausalLM(_model_config(recipe)).train()
        self.weights = dict(self.model.named_parameters())
        self.unembedding = self.model.get_output_embeddings().weight
        self.optimiser = torch.optim.AdamW(
            self.weights.values(),
            lr=recipe.learning_rate,
            betas=recipe.betas,
            weight_decay=recipe.weight_decay,
            fused=True,
        )
        for weight in self.weights.values():
            moments = {name: torch.zeros_like(weight) for name in ("exp_avg", "exp_avg_sq")}
            self.optimiser.state[weight] = {"step": torch.tensor(0.0), **moments}
        self.windows = corpus_windows("training", recipe.context)
        self.validation_windows = corpus_windows("heldout", recipe.context)[:N_VALIDATION_WINDOWS]
        self.order = window_order(recipe, len(self.windows))
        # The largest tensor of a step; reused, because a new allocation costs 2000 page faults per step.
        self._logits_tv = torch.empty(recipe.batch_size * (recipe.context - 1), recipe.vocab_size)

    def advance(self) -> None:
        """Take one optimiser step."""
        first = self.step * self.recipe.batch_size
        batch = self.windows[self.order[first : first + self.recipe.batch_size]]
        self.add_gradients(torch.from_numpy(batch.astype(np.int64)))
        torch.nn.utils.clip_grad_norm_(self.weights.values(), self.recipe.clip_norm)
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.recipe, self.step)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.step += 1

    def add_gradients(self, batch_pt: torch.Tensor) -> None:
        """Set the gradients of the mean next-token cross-entropy of a batch [windows, tokens].

        The gradient through softmax and unembedding is computed explicitly: p - onehot, in one reused buffer. The loss
        itself is not computed, because training does not need it.
        """
        resid_td = self.model.gpt_neox(input_ids=batch_pt, use_cache=False).last_hidden_state[:, :-1]
        resid_td = resid_td.reshape(-1, self.recipe.shape.d_model)
        targets_t = batch_pt[:, 1:].reshape(-1)
        with torch.no_grad():
            torch.mm(resid_td, self.unembedding.T, out=self._logits_tv)
            error_tv = torch.softmax(self._logits_tv, dim=1, out=self._logits_tv)
            error_tv[torch.arange(len(targets_t)), targets_t] -= 1
            error_tv /= len(targets_t)
            self.unembedding.grad = torch.mm(resid_td.T, error_tv).T.contiguous()
            gradient_td = torch.mm(error_tv, self.unembedding)
        resid_td.backward(gradient_td)

    def validation_loss(self) -> float:
        """Compute the mean next-token cross-entropy on the held-out windows, in nats per token."""
        self.model.eval()
        batches = np.array_split(self.validation_windows, max(1, len(self.validation_windows) // 32))
        loss = mean_loss(self.model, [torch.from_numpy(windows.astype(np.int64)) for windows in batches])
        self.model.train()
        return loss

    def stored_weights(self) -> dict[str, np.ndarray]:
        """Return the weights in the format of a published Pythia checkpoint: float16, unembedding named embed_out."""
        stored = {}
        for name, weight in self.weights.items():
            half = weight.detach().to(torch.float16)
            if not bool(half.isfinite().all()):
                raise EmergenceError(
                    f"training diverged: {name} is not finite in half precision at step {self.step}",
                    remedy=f"lower the learning rate, now {self.recipe.learning_rate}",
                )
            # transformers 5 names the unembedding differently in memory and in files.
            stored["embed_out.weight" if weight is self.unembedding else name] = half.numpy()
        return stored

    def config_text(self) -> str:
        """Return the content of config.json of a checkpoint."""
        config = self.model.config
        config.architectures = [type(self.model).__name__]
        config.dtype = torch.float16
        return config.to_json_string()

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the tensors that decide the next steps, together with the settings; not copies."""
        found = {f"weights/{name}": weight.detach() for name, weight in self.weights.items()}
        for name, weight in self.weights.items():
            found |= {f"{part}/{name}": tensor for part, tensor in self.optimiser.state[weight].items()}
        return found


def _model_config(recipe: TrainingRecipe) -> GPTNeoXConfig:
    config = GPTNeoXConfig(
        vocab_size=recipe.vocab_size,
        hidden_size=recipe.shape.d_model,
        num_hidden_layers=recipe.shape.n_layers,
        num_attention_heads=recipe.shape.n_heads,
        intermediate_size=4 * recipe.shape.d_model,
        max_position_embeddings=recipe.context,
        use_parallel_residual=True,
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=0,
        attention_dropout=0.0,
        hidden_dropout=0.0,
    )
    config._attn_implementation = "sdpa"
    return config


@contextlib.contextmanager
def _deterministic() -> Iterator[None]:
    """Use one thread and deterministic kernels while the context lasts; measured: two threads give other bits."""
    n_threads, was_deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    memory: Any = torch.utils.deterministic  # its only attribute is not declared
    was_filled = memory.fill_uninitialized_memory
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    memory.fill_uninitialized_memory = False  # would write every tensor twice
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)
        torch.use_deterministic_algorithms(was_deterministic)
        memory.fill_uninitialized_memory = was_filled
