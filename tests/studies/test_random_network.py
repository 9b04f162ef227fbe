"""A family that never learns: every checkpoint is a random network of another seed, and nothing may emerge.

If EMERGENCE_TEST_MMLU names a file with MMLU questions (columns question and subject), these are the texts. Otherwise
the texts are similar: subjects with words of their own, one subject with a template, one with long passages.
"""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import scipy.stats

from emergence_assets.checkpoints.training.settings import ModelShape
from emergence_assets.emergence.claims.grading import SUPPORTED
from emergence_assets.emergence.claims.of_time import MUST_BEAT
from emergence_assets.emergence.time.rises import CHECKPOINTS_FOR_A_DATE
from tests.conftest import run_emergence
from tests.family import step_folder, trained_family
from tests.studies.published_study import local_family, write_study

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.xdist_group("random-network")]
MODEL, SHAPE, CONTEXT = "random", ModelShape(64, 2, 4), 192
STEPS = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


def mmlu_like(path: Path) -> None:
    """Make ten subjects of 80 questions: a tenth of the words is specific to the subject, as in real questions."""
    rng = np.random.default_rng(0)
    syllables = ["ba", "co", "di", "fu", "ga", "le", "mi", "no", "pe", "ru", "sa", "ti"]
    vocabulary = ["".join(rng.choice(syllables, 3)) for _ in range(1500)]
    rows = []
    for subject in range(10):
        own = ["".join(rng.choice(syllables, 4)) for _ in range(30)]
        for _ in range(80):
            n_words = 40 if subject == 1 else int(rng.integers(8, 20))  # the longest texts fit into the context
            words = [str(rng.choice(own if rng.random() < 0.1 else vocabulary)) for _ in range(n_words)]
            before = (
                "which of these two acts is plainly wrong by the common standards of the day: " if subject == 0 else ""
            )
            rows.append((f"{before}{' '.join(words)}?", f"subject {subject}"))
    pl.DataFrame(rows, schema=["question", "subject"], orient="row").write_csv(path)


def random_family(root: Path) -> Path:
    """Make step folders with random weights distributed as those of step 0, each of another seed."""
    for position, step in enumerate(STEPS):
        one = trained_family(root / "made", steps=[0], models={MODEL: SHAPE}, seed=100 + position)
        folder = step_folder(root / "family", MODEL, step)
        shutil.copytree(step_folder(one, MODEL, 0), folder)
        shutil.rmtree(root / "made")
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        # Positions are rotary, so no weight depends on a position: a question may be longer than a gloss.
        (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": CONTEXT}), encoding="utf-8")
    return root / "family"


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("random")
    questions = os.environ.get("EMERGENCE_TEST_MMLU")
    if questions is None:
        mmlu_like(folder / "questions.csv")
    study = write_study(
        folder / "random.yaml",
        local_family(
            random_family(folder),
            models={MODEL: {"d_model": SHAPE.d_model, "n_layers": SHAPE.n_layers}},
            context=CONTEXT,
        ),
        steps=list(STEPS),
        # Unrelated networks are no training run, and are left out unless the study admits them.
        admit=[f"{MODEL}/step{step}" for step in STEPS],
        probe_set={
            "source": "table",
            "path": questions or str(folder / "questions.csv"),
            "text_column": "question",
            "levels": ["subject"],
        },
        activations={"training_texts": 3000},
        sae={"n_latents": 512, "k": 16, "n_steps": 80, "batch_size": 512, "seeds": [0, 1]},
        statistics={"n_bootstrap": 100, "n_shuffles": 5},
    )
    finished = run_emergence(folder, "run", "--json", study=study)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert json.loads(finished.stdout)["made"]["latent_stats"] == len(STEPS) * SHAPE.n_layers
    return folder / "random" / "tables"


def test_a_family_that_never_learns_has_no_supported_claim(tables: Path) -> None:
    time = pl.read_parquet(tables / "emergence_over_time" / f"model={MODEL}.parquet")
    assert (time["n_steps"] >= CHECKPOINTS_FOR_A_DATE).all()  # with fewer no family could have a date
    claims = pl.read_parquet(tables / "claims.parquet")
    stated = claims.filter(pl.col("kind") == "emergence")
    assert stated.height >= 9
    assert not stated["controls_missing"].explode().is_in(["sae_seed", *MUST_BEAT]).any()
    supported = claims.filter(pl.col("grade").is_in(SUPPORTED))
    assert supported.is_empty(), supported.select("kind", "statement", "grade")
    if "EMERGENCE_TEST_MMLU" not in os.environ:
        told = stated.filter(pl.col("controls_failed").list.contains("wording"))["category"].drop_nulls()
        assert set(told) == {"subject 0", "subject 1"}  # the template and the long passages


def test_presence_is_that_of_the_untrained_network(tables: Path) -> None:
    presence = pl.read_parquet(tables / "category_presence" / f"model={MODEL}.parquet")
    real = presence.filter(pl.col("control_id") == "none").group_by("step").agg(pl.col("p_best").mean())
    _is_one_of_them(dict(real.iter_rows()))
    shuffled = presence.filter(pl.col("control_id") == "label_shuffle").group_by("step").agg(pl.col("p_best").mean())
    assert shuffled["p_best"].is_between(0.47, 0.53).all()


def test_categorical_latents_are_no_more_than_at_step_0(tables: Path) -> None:
    """The rule accepts latents of a random network: only the excess over step 0 counts, and there is none."""
    passing = dict.fromkeys(STEPS, 0)
    for step in STEPS:
        for layer in range(SHAPE.n_layers):
            path = tables / "latent_stats" / f"model={MODEL}" / f"step={step:06d}" / f"layer={layer:03d}.parquet"
            passing[step] += int(pl.read_parquet(path)["passes"].sum())
    _is_one_of_them(passing)


def _is_one_of_them(of_step: Mapping[int, float]) -> None:
    """Require that step 0 is no further from the others' mean than a network drawn like them, by Student's t."""
    later = np.array([of_step[step] for step in STEPS[1:]], float)
    t = (later.mean() - of_step[0]) / (later.std(ddof=1) * (1 + 1 / len(later)) ** 0.5)
    assert abs(t) < scipy.stats.t.ppf(0.999, len(later) - 1), of_step
