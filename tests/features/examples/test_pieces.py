"""The pieces of a text are the text, in every script."""

from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from emergence_assets.features.examples.pieces import Pieces
from emergence_assets.texts.wordnet.corpus import TOKENIZER_PATH

TEXTS = [
    "hound: a dog used in hunting.\n",
    "  two  blanks ",
    "naïve café",
    "漢字とかな",
    "🐕 dog 👩‍👩‍👧",
    "\u202eright to left",
    "<script>x</script>",
]


def ids_of(path: Path, text: str) -> np.ndarray:
    return np.array([0, *Tokenizer.from_file(str(path)).encode(text, add_special_tokens=False).ids], np.int32)


@pytest.mark.parametrize("text", TEXTS)
def test_pieces_together_are_the_text(text: str) -> None:
    pieces = Pieces(Path(TOKENIZER_PATH)).of_text(text, ids_of(Path(TOKENIZER_PATH), text))
    assert pieces[0] == "<|endoftext|>"
    assert "".join(pieces[1:]) == text


def test_offsets_without_blanks_leave_no_gap(tmp_path: Path) -> None:
    words = {"[UNK]": 0, "a": 1, "dog": 2, "barks": 3}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    ids_t = np.array([0, 1, 2, 3, 0], np.int32)  # an end token behind the text
    assert Pieces(tmp_path / "tokenizer.json").of_text("a dog barks", ids_t) == [
        "[UNK]",
        "a",
        " dog",
        " barks",
        "[UNK]",
    ]


def test_a_part_of_a_character_has_the_name_of_its_token() -> None:
    pieces = Pieces(Path(TOKENIZER_PATH))
    ids = ids_of(Path(TOKENIZER_PATH), "🐕")
    assert all("\ufffd" not in pieces.of_token(int(token)) for token in ids)
    assert pieces.of_token(10**6) == str(10**6)
