"""Texts with their tokens highlighted by activation, as HTML that holds no markup of the text."""

import html
from collections.abc import Sequence

LONGEST = 600
"""Largest number of characters of a shown text."""
_STRONG = "230, 120, 20"
"""Colour of the strongest activation; weaker ones are more transparent, so that it works on light and dark paper."""


def token_html(tokens: Sequence[str], activations: Sequence[float | None], largest: float) -> str:
    """Return a text with its tokens coloured by activation; the value is the tooltip.

    Args:
        tokens: pieces of the text, the begin token first, which is not shown.
        activations: activation at each token.
        largest: activation of full colour.
    """
    shown, n_characters = [], 0
    for piece, value in zip(tokens[1:], activations[1:], strict=True):
        n_characters += len(piece)
        if n_characters > LONGEST:
            shown.append("…")
            break
        # A line break would leave an empty mark.
        text = html.escape(piece.replace("\n", "↵"))
        if value:
            share = min(1.0, value / largest) if largest > 0 else 0.0
            mark = f"background: rgba({_STRONG}, {0.15 + 0.75 * share:.2f}); border-radius: 2px"
            text = f'<span style="{mark}" title="{value:.3g}">{text}</span>'
        shown.append(text)
    # Isolated: a mark for right-to-left writing does not reach the next text.
    return f'<bdi style="white-space: pre-wrap; font-family: ui-monospace, monospace">{"".join(shown)}</bdi>'
