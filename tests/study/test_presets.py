"""Presets of published families: shapes, repositories and names of revisions."""

import pytest

from emergence_assets.checkpoints.sources.revision import RevisionPattern
from emergence_assets.study.family import Hub
from emergence_assets.study.presets import preset, presets
from resources.errors import EmergenceError

REVISIONS = {
    "pythia": {"step0": 0, "step512": 512, "step143000": 143000, "main": None},
    "pythia-deduped": {"step1": 1},
    "pythia-seeds": {"step143000": 143000},
    "olmo-2": {
        "stage1-step0-tokens0B": 0,
        "stage1-step928646-tokens3896B": 928646,
        "stage2-ingredient3-step5000-tokens21B": None,
        "main": None,
    },
    "amber": {"ckpt_000": 1, "ckpt_358": 359, "main": None},
    "bloom": {"global_step1000": 1000, "global_step600000": 600000, "main": None},
    "smollm2": {"step-125000": 125000, "main": None},
    "smollm3": {"stage1-step-40000": 40000, "stage3-step-4720000": 4720000, "lc-4k-to-32k-step-4000": None},
}
"""Names of revisions on the publishers' pages → training steps."""


def family(name: str, **more: object) -> Hub:
    return Hub.model_validate({"source": "hub", "preset": name, **more})


def test_every_preset_has_revisions_to_try() -> None:
    assert set(REVISIONS) == set(presets())


@pytest.mark.parametrize(
    ("name", "revision", "step"),
    [(name, revision, step) for name, known in REVISIONS.items() for revision, step in known.items()],
)
def test_names_of_revisions_are_understood(name: str, revision: str, step: int | None) -> None:
    declared = family(name)
    assert RevisionPattern(declared.revision, declared.step_offset).step_of(revision) == step


@pytest.mark.parametrize("name", list(REVISIONS))
def test_a_preset_alone_is_a_family_of_all_its_models(name: str) -> None:
    declared = family(name)
    assert list(declared.models) == list(preset(name).models)
    repositories = [declared.repository_of(model) for model in declared.models]
    assert len(set(repositories)) == len(repositories)
    assert all(repository.count("/") == 1 and "{" not in repository for repository in repositories)
    widths = [(shape.n_layers * shape.d_model**2) for shape in declared.models.values()]
    assert widths == sorted(widths), "smallest first"


@pytest.mark.parametrize(
    ("name", "model", "step", "tokens"),
    [
        # Published numbers of tokens of a revision: 300 billion, 3,896 and 4,001 billion, 1.26 trillion, 250 billion.
        ("pythia", "pythia-12b", 143_000, 299.9e9),
        ("olmo-2", "olmo-2-7b", 928_646, 3896e9),
        ("olmo-2", "olmo-2-1b", 1_907_359, 4001e9),
        ("olmo-2", "olmo-2-13b", 596_057, 5001e9),
        ("olmo-2", "olmo-2-32b", 721_901, 6056e9),
        ("amber", "amber-7b", 360, 1259.13e9),
        ("bloom", "bloom-560m", 600_000, 315e9),
        ("smollm2", "smollm2-1.7b", 125_000, 250e9),
        ("smollm2", "smollm2-360m", 160_000, 250e9),
        ("smollm2", "smollm2-135m", 240_000, 252e9),
        ("smollm3", "smollm3-3b", 40_000, 94.4e9),
    ],
)
def test_tokens_seen_are_those_that_publishers_state(name: str, model: str, step: int, tokens: float) -> None:
    assert step * family(name).tokens_per_step_of(model) == pytest.approx(tokens, rel=0.05)


def test_fields_of_a_study_override_the_preset() -> None:
    declared = family(
        "olmo-2",
        models={"olmo-2-1b": {"d_model": 2048, "n_layers": 16, "repository": "allenai/OLMo-2-0425-1B-early-training"}},
        tokens_per_step=7,
        step_offset=2,
    )
    assert declared.repository_of("olmo-2-1b") == "allenai/OLMo-2-0425-1B-early-training"
    assert declared.tokens_per_step_of("olmo-2-1b") == 7
    assert declared.step_offset == 2


def test_an_unknown_preset_is_answered_with_those_that_are_known() -> None:
    with pytest.raises(EmergenceError) as caught:
        preset("gpt-5")
    assert "pythia-seeds" in str(caught.value)
