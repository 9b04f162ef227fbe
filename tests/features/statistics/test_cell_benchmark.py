"""The benchmark of cell statistics runs, and its numbers equal those of scipy and scikit-learn."""

from benchmarks.cell_statistics import measure_cell_statistics


def test_a_small_cell_equals_loops_over_the_libraries() -> None:
    found = measure_cell_statistics(n_texts=900, n_latents=60, n_categories=7, k=6, n_sampled=150)
    assert found["largest difference"] < 1e-9
    assert found["pairs with support"] > 150
