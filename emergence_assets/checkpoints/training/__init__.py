"""Training of the embedded model family."""
