"""Automatic names of latents, from words and tokens alone: no language model is asked."""

from collections.abc import Sequence

N_WORDS = 3
LONGEST = 60
"""Largest number of characters of a name."""


def automatic_name(words: Sequence[str], raised: Sequence[str]) -> str:
    """Name a latent by its most distinctive words and the token that it raises most, as in `hound, dog → "dogs"`.

    Args:
        words: distinctive words, the most distinctive first.
        raised: tokens that it raises, the strongest first.
    """
    token = next((piece.strip() for piece in raised if piece.strip()), "")
    name = ", ".join(words[:N_WORDS])
    if token and token.casefold() not in words[:N_WORDS]:
        name = f'{name} → "{token}"' if name else f'→ "{token}"'
    name = name or "no distinctive word"
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"
