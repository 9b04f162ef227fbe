"""Families without features: labels move between documents, weights lose their structure and keep their norms."""

from pathlib import Path

import numpy as np
import polars as pl
import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from benchmarks import null_families
from benchmarks.gaussian_rows import gaussian_like, replace_rows
from benchmarks.null_families import LEVELS, MODEL, permuted_by_document
from emergence_assets.activations.files.reading import open_rows, read_attrs, verify_file
from emergence_assets.checkpoints.files.folder import step_folder_name
from tests.activations.files.sample_file import SAMPLE_ATTRS, write


def test_labels_move_between_documents_of_equal_length() -> None:
    rng = np.random.default_rng(0)
    document = np.repeat(np.arange(120), rng.integers(1, 9, 120))
    subject = [f"subject {d % 7}" for d in document]
    texts = pl.DataFrame(
        {
            "text": [f"text {i}" for i in range(len(document))],
            "document": [str(d) for d in document],
            "subject": subject,
            "area": [f"area of {s}" for s in subject],
            "domain": ["life" if s in ("subject 0", "subject 1") else None for s in subject],
        }
    )
    permuted = permuted_by_document(texts, seed=1)
    assert permuted.select("text", "document").equals(texts.select("text", "document"))
    assert (permuted["subject"] != texts["subject"]).mean() > 0.6
    # All levels of a text move together, and a document receives the labels of one other document.
    assert (permuted["area"] == "area of " + permuted["subject"]).all()
    assert permuted.group_by("document").agg(pl.col("subject").n_unique())["subject"].max() == 1
    for level in LEVELS:
        assert permuted[level].value_counts().sort(level).equals(texts[level].value_counts().sort(level))
    assert permuted.equals(permuted_by_document(texts, seed=1))
    assert not permuted.equals(permuted_by_document(texts, seed=2))


def test_reinitialised_checkpoints_keep_the_norms_of_every_step(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(null_families, "STEPS", (0, 600))
    config = GPTNeoXConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64
    )
    for step in (0, 600):
        torch.manual_seed(step)
        model = GPTNeoXForCausalLM(config)
        with torch.no_grad():
            for weight in model.parameters():
                weight.mul_(1 + step / 300)
        folder = tmp_path / "trained" / MODEL / step_folder_name(step)
        model.half().save_pretrained(folder)
        (folder / "tokenizer.json").write_text("{}", encoding="utf-8")
    null_families._reinitialise_all(tmp_path / "trained", tmp_path / "null", seed=0)
    for step in (0, 600):
        own, null = (
            GPTNeoXForCausalLM.from_pretrained(tmp_path / kind / MODEL / step_folder_name(step), dtype=torch.float32)
            for kind in ("trained", "null")
        )
        pairs = zip(own.parameters(), null.parameters(), strict=True)
        large = [(weight, other) for weight, other in pairs if weight.numel() >= 256]
        assert len(large) >= 5
        for weight, other in large:
            assert not torch.equal(weight, other)
            assert abs((weight.norm() / other.norm()).item() - 1) < 0.2
        assert (tmp_path / "null" / MODEL / step_folder_name(step) / "tokenizer.json").exists()


def test_gaussian_rows_have_the_moments_of_the_real_ones_and_lie_in_whole_files(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    real = draw.normal(size=(4000, 6)).astype(np.float32) * np.arange(1, 7, dtype=np.float32) + 3
    real[:, 1] += real[:, 0]
    drawn = gaussian_like(real, np.random.default_rng(1))
    np.testing.assert_allclose(drawn.mean(axis=0), real.mean(axis=0), atol=0.4)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(real.T), atol=2.5)
    assert abs(np.corrcoef(drawn[:, 0], real[:, 0])[0, 1]) < 0.1
    path = tmp_path / "activations" / "layer=000.h5"
    path.parent.mkdir()
    rows = {name: draw.normal(size=(200, 4)).astype(np.float32) for name in ("resid_post", "read_out", "read_out_mean")}
    write(path, rows, "float32", SAMPLE_ATTRS)
    assert replace_rows(tmp_path, seed=0) == 1
    verify_file(path)
    assert {name: read_attrs(path)[name] for name in SAMPLE_ATTRS} == SAMPLE_ATTRS
    assert not np.array_equal(open_rows(path, "read_out").float32(), rows["read_out"])
