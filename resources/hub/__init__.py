"""Client of a model hub."""
