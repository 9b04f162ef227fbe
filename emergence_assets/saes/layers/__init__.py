"""SAEs of the layers of one checkpoint: made, measured and written by a worker."""
