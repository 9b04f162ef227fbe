"""Labels that look the same are one category, and the user is told."""

from pathlib import Path

import polars as pl
import pytest

from emergence_assets.texts.labels import cleaned_label
from emergence_assets.texts.probe_set import table_probes


@pytest.mark.parametrize(
    ("label", "cleaned"),
    [
        (" fish ", "fish"),
        ("fish\t\u00a0and  chips\n", "fish and chips"),
        ("fi\u200bsh\ufeff\u202e", "fish"),
        ("cafe\u0301", "caf\u00e9"),
        ("\x1b[31mred", "[31mred"),
        ("\u0645\u06cc\u200c\u062e", "\u0645\u06cc\u200c\u062e"),
        ("[cs.CL]", "[cs.CL]"),
        ("\u200b \x00", ""),
    ],
    ids=["ends", "spaces", "invisible", "composed", "escape", "joiner", "brackets", "nothing"],
)
def test_a_label_is_what_one_sees(label: str, cleaned: str) -> None:
    assert cleaned_label(label) == cleaned


def test_labels_that_look_the_same_are_merged_and_named(tmp_path: Path) -> None:
    rows = [
        (f"text number {i} of {i * 7}", ("fish", "fish ", "fi\u200bsh", "fowl", "\u200b")[i % 5]) for i in range(200)
    ]
    pl.DataFrame(rows, schema=["text", "kind"], orient="row").write_csv(tmp_path / "own.csv")
    probes = table_probes(tmp_path / "own.csv", ["kind"], min_texts_per_category=10)
    counts = dict(probes.texts["kind"].value_counts().iter_rows())
    assert counts == {"fish": 120, "fowl": 40}
    (note,) = probes.notes
    assert note.startswith("kind: 'fish' and 'fish ' and 'fi\\u200bsh' look the same")
