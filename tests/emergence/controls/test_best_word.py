"""The best single word: chosen on one half of the texts, scored on the other."""

import numpy as np

from emergence_assets.emergence.controls.best_word import word_codes
from emergence_assets.emergence.controls.rows import control_rows
from emergence_assets.features.statistics.categorical_latents import TextFacts
from emergence_assets.features.statistics.cell_tables import CellRecipe
from emergence_assets.features.statistics.labels import Labels

N = 200


def test_the_word_that_tells_a_category_has_the_auroc_of_its_rates() -> None:
    """Fish: 80 % of its texts have the word, 10 % of the others; half of each on either side."""
    number = np.arange(2 * N)
    is_fish = number < N
    has_word = np.where(is_fish, number % 10 < 8, number % 10 < 1)
    texts = [f"water, text {i}{' fin' if one else ''}." for i, one in zip(number, has_word, strict=True)]
    labels = Labels.from_values("subject", np.where(is_fish, "fish", "fowl").tolist(), number // 10 % 2 == 0)
    words = TextFacts.of([str(i) for i in number], texts)
    codes = word_codes(words)
    recipe = CellRecipe.from_settings({"rule_id": "lift_fdr_v1", "n_bootstrap": 50, "n_shuffles": 2, "seed": 0})
    rows = control_rows([codes], np.random.default_rng(0).normal(size=(2 * N, 4)), [labels], recipe)
    fish = rows.filter(category="fish").row(0, named=True)
    assert abs(fish["p_best"] - (0.5 + (0.8 - 0.1) / 2)) < 1e-6
    assert np.std(fish["replicates"]) > 0.01


def test_a_text_without_words_and_no_words_at_all() -> None:
    codes = word_codes(TextFacts.of(["a", "b"], ["one two one", "..."]))
    assert (codes.values_pk > 0).sum(axis=1).tolist() == [2, 0]
    assert codes.n_latents == 2
