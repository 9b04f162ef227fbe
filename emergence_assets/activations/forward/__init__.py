"""Forward passes that capture, ablate and decompose the residual stream."""
