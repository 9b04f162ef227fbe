"""dictionary_learning: `TopKTrainer.update`, as its `trainSAE` calls it. Runs in `.peers`."""

import importlib.util
import sys
import types

import torch
from peers_train import Task, Trainer
from torch import Tensor


def _trainer_module() -> types.ModuleType:
    """Import the trainer without its package, which imports a tracing library that training does not need."""
    package = types.ModuleType("dictionary_learning")
    package.__path__ = importlib.util.find_spec("dictionary_learning").submodule_search_locations
    sys.modules["dictionary_learning"] = package
    trainers = types.ModuleType("dictionary_learning.trainers")
    trainers.__path__ = [f"{path}/trainers" for path in package.__path__]
    sys.modules["dictionary_learning.trainers"] = trainers
    return importlib.import_module("dictionary_learning.trainers.top_k")


def trainer(task: Task) -> Trainer:
    """Trainer with the defaults of the library, except for the settings of the task."""
    return _DictionaryLearning(task)


class _DictionaryLearning:
    def __init__(self, task: Task):
        n_latents, d_model = task.W_dec_nd.shape
        self.trainer = _trainer_module().TopKTrainer(
            steps=task.n_steps + 1,
            activation_dim=d_model,
            dict_size=n_latents,
            k=task.k,
            layer=0,
            lm_name="none",
            lr=task.learning_rate,
            warmup_steps=0,
            device=task.device,
        )
        # Its step 0 replaces b_dec by a geometric median.
        self.n_steps = 0 if task.W_enc_nd is None else 1
        if task.W_enc_nd is None:
            return
        with torch.no_grad():
            self.trainer.ae.decoder.weight.copy_(task.W_dec_nd.T)
            self.trainer.ae.encoder.weight.copy_(task.W_enc_nd)
            self.trainer.ae.encoder.bias.zero_()
            self.trainer.ae.b_dec.copy_(task.b_dec_d)

    def step(self, x_td: Tensor) -> None:
        self.trainer.update(self.n_steps, x_td)
        self.n_steps += 1

    def reconstruct(self, x_td: Tensor) -> Tensor:
        return self.trainer.ae(x_td)
