"""The pieces of a text that its tokens stand for."""

from pathlib import Path

import numpy as np
from tokenizers import Tokenizer


class Pieces:
    """Pieces of texts and names of tokens, of one tokenizer.

    Args:
        path: tokenizer.json.
    """

    def __init__(self, path: Path):
        self._tokenizer = Tokenizer.from_file(str(path))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def of_text(self, text: str, ids_t: np.ndarray) -> list[str]:
        """Return the piece of each token of a text, which together are the text; special tokens have their names.

        Args:
            text: the text.
            ids_t: its token ids, with the begin token and, of an encoder, the end token.
        """
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        ends = [end for _, end in encoding.offsets]
        # Offsets may leave out the blank before a word; several tokens may share one character.
        starts = [0, *np.maximum.accumulate(ends).tolist()][: len(ends)]
        inside = [text[start:end] for start, end in zip(starts, ends, strict=True)]
        after = [self.of_token(int(token)) for token in ids_t[1 + len(inside) :]]
        return [self.of_token(int(ids_t[0])), *inside, *after]

    def of_token(self, token_id: int) -> str:
        """Return the text of a token alone, or its name where it has none, such as a part of a character."""
        text = self._tokenizer.decode([token_id], skip_special_tokens=False)
        return text if text and "\ufffd" not in text else str(self._tokenizer.id_to_token(token_id) or token_id)
