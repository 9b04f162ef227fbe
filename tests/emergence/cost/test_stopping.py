"""The stop signal on simulated runs: after one rise its regret is almost zero, and it never comes before the rise."""

import numpy as np
import pytest

from benchmarks import stop_signal


def test_one_rise_is_followed_by_a_signal_with_little_regret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stop_signal, "DRAWS", 40)
    found = stop_signal._measured("one rise", 2, np.random.default_rng(0))
    assert found["stopped"] > 0.2
    assert found["mean regret"] < 0.01
    assert found["compute saved, median"] > 0.4


def test_a_curve_without_a_rise_has_no_stop_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stop_signal, "DRAWS", 40)
    found = stop_signal._measured("never", 2, np.random.default_rng(0))
    assert found["stopped"] == 0
    assert found["too early without the gate"] > 0.8
