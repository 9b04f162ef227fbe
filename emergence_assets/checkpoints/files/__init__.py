"""Readers of the files of a checkpoint folder, which are treated as hostile input."""
