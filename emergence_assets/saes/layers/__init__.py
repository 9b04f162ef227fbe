"""Make, measure and write the SAEs of the layers of one checkpoint, in a worker."""
