"""Flipped bits and truncation anywhere in a file of each storage state are detected or harmless. Counted."""

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from emergence_assets.activations.files.layout import STORAGE_STATES, StorageState
from emergence_assets.activations.files.reading import read_spec, verify_file
from emergence_assets.activations.files.storage_state import evict_rows, restore_rows
from resources.errors import EmergenceError
from tests.activations.conftest import Faults
from tests.activations.files.layer_files import everything, stored_rows, write_layer

N_FLIPS, N_CUTS = 300, 20


@pytest.mark.slow
@pytest.mark.parametrize("state", STORAGE_STATES)
def test_no_flipped_bit_is_read_as_something_else(tmp_path: Path, faults: Faults, state: StorageState) -> None:
    path = write_layer(tmp_path / "layer.h5", state)
    whole, expected = path.read_bytes(), everything(path)
    outcomes = Counter[str]()
    for place in np.random.default_rng(0).permutation(len(whole) * 8)[:N_FLIPS].tolist():
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        try:
            assert everything(path) == expected, place
            outcomes["in unused bytes"] += 1
        except EmergenceError:
            outcomes["found"] += 1
    faults(f"a bit flipped, rows {state}", outcomes)


@pytest.mark.slow
@pytest.mark.parametrize("state", ["stored", "evicted"])  # a sampled file is never rewritten
def test_no_flipped_bit_survives_eviction_or_restoring(tmp_path: Path, faults: Faults, state: StorageState) -> None:
    path = write_layer(tmp_path / "layer.h5", state)
    whole, rows = path.read_bytes(), stored_rows()
    reference = write_layer(tmp_path / "reference.h5")
    expected, outcomes = everything(reference), Counter[str]()
    for place in np.random.default_rng(1).permutation(len(whole) * 8)[: N_FLIPS // 3].tolist():
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        try:
            evict_rows(path) if state == "stored" else restore_rows(path, rows)
        except EmergenceError:
            assert path.read_bytes() == damaged
            outcomes["refused, file untouched"] += 1
        else:
            verify_file(path)
            restore_rows(path, rows)
            assert everything(path) == expected, place
            outcomes["done, nothing of it left"] += 1
    faults(f"a bit flipped before a rewrite, rows {state}", outcomes)


@pytest.mark.parametrize("state", STORAGE_STATES)
def test_a_lost_end_is_found_wherever_it_begins(tmp_path: Path, faults: Faults, state: StorageState) -> None:
    path = write_layer(tmp_path / "layer.h5", state)
    whole, rows, outcomes = path.read_bytes(), stored_rows(), Counter[str]()
    for kept in np.linspace(0, len(whole) - 1, N_CUTS).astype(int).tolist():
        path.write_bytes(whole)
        os.truncate(path, kept)
        for read in (read_spec, verify_file, everything, evict_rows, lambda path: restore_rows(path, rows)):
            with pytest.raises(EmergenceError):
                read(path)
        assert path.read_bytes() == whole[:kept]
        outcomes["found"] += 1
    faults(f"truncated, rows {state}", outcomes)


def test_bytes_behind_the_end_do_no_harm(tmp_path: Path) -> None:
    path = write_layer(tmp_path / "layer.h5")
    expected = everything(path)
    with path.open("ab") as stream:
        stream.write(b"\xff" * 5000)
    assert everything(path) == expected
