"""Files of a training run: its checkpoints. No torch: weights are numpy arrays.

The folder of a run holds `step{N}/` per checkpoint, in the layout of a published model plus `training.json`. During the
run it also holds `resume.safetensors`, see `training_state.py`.
"""

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import safetensors.numpy

from emergence_assets.checkpoints.files.folder import read_facts
from emergence_assets.checkpoints.training.settings import TrainingRecipe
from emergence_assets.texts.wordnet import corpus
from resources.environment import machine
from resources.errors import EmergenceError
from resources.files.atomic import replacing_folder
from resources.files.lease import leased

Identity = Mapping[str, object]
Arrays = dict[str, np.ndarray]


def run_identity(recipe: TrainingRecipe) -> Identity:
    """Return the values that all files of a run share, in the form that JSON gives them."""
    identity = {
        "recipe": asdict(recipe),
        "corpus_sha256": corpus.corpus_sha256(),
        "tokenizer_sha256": corpus.tokenizer_sha256(),
    }
    return json.loads(json.dumps(identity))


@contextlib.contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Lock the folder for this process, and clean the temporary files of killed processes.

    Raises:
        EmergenceError: another process holds the lock.
    """
    with leased(folder / ".training.lock", wait_seconds=0, refusal="This folder is being trained into by"):
        for path in folder.glob(".*.tmp"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        yield


def write_checkpoint(
    step_folder: Path, config: str, weights: Arrays, context: int, notes: Mapping[str, object], identity: Identity
) -> None:
    """Write a checkpoint atomically: under a temporary name, which is then changed.

    Args:
        step_folder: folder of the checkpoint; must not exist.
        config: content of config.json.
        weights: weights by published name, in the stored precision.
        context: longest text in tokens, for the tokenizer's config.
        notes: further values of training.json, beside the identity of the run and the machine.
        identity: identity of the run.
    """
    tokenizer_config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": corpus.END_OF_TEXT,
        "eos_token": corpus.END_OF_TEXT,
        "pad_token": corpus.PADDING,
        "model_max_length": context,
    }
    notes = {**notes, **identity, "environment": machine()}
    with replacing_folder(step_folder) as temporary:
        (temporary / "model.safetensors").write_bytes(safetensors.numpy.save(weights, {"format": "pt"}))
        (temporary / "config.json").write_text(config, encoding="utf-8")
        (temporary / "tokenizer.json").write_bytes(corpus.TOKENIZER_PATH.read_bytes())
        text = json.dumps(tokenizer_config, indent=2) + "\n"
        (temporary / "tokenizer_config.json").write_text(text, encoding="utf-8")
        (temporary / "training.json").write_text(json.dumps(notes, indent=2) + "\n", encoding="utf-8")


def read_validation_loss(step_folder: Path, identity: Identity) -> float:
    """Check that an existing checkpoint is complete and of this run, and return its validation loss.

    Raises:
        EmergenceError: the checkpoint is damaged, or belongs to another run.
    """
    read_facts(step_folder)
    path = step_folder / "training.json"
    try:
        notes = json.loads(path.read_bytes())
        loss, found = float(notes["validation_loss"]), {key: notes[key] for key in identity}
    except (OSError, ValueError, KeyError, TypeError) as error:
        remedy = f"delete {step_folder} and run again"
        raise EmergenceError("cannot read training.json of this checkpoint", where=path, remedy=remedy) from error
    if found != identity:
        differing = ", ".join(key for key in identity if found[key] != identity[key])
        raise EmergenceError(
            f"this checkpoint was trained with other settings or on another corpus ({differing} differs)",
            where=path,
            remedy="train into another folder, or delete this one",
        )
    return loss


def check_same_weights(step_folder: Path, weights: Arrays) -> None:
    """Compare an existing checkpoint with the weights of the same step, trained again.

    Raises:
        EmergenceError: any bit differs.
    """
    present = safetensors.numpy.load_file(step_folder / "model.safetensors")
    if present.keys() != weights.keys() or any(not np.array_equal(present[name], weights[name]) for name in weights):
        raise EmergenceError(
            "training again does not reproduce this checkpoint bit for bit: the environment is not that of its "
            "training (processor, torch version or settings), so further checkpoints would not belong to its run",
            where=step_folder,
            remedy=f"delete {step_folder.parent} to train the whole run here",
        )


def environment_identity(identity: Identity) -> str:
    """Return what decides the bits of a run, also the environment; a resumed run needs the same."""
    here = machine()
    keys = ("torch", "transformers", "cpu_capability", "cpu_model", "mkl_cbwr", "num_threads")
    return json.dumps({**identity, **{key: here[key] for key in keys}}, sort_keys=True)
