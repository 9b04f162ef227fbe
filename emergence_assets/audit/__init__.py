"""Audit of a study: the trace of a number to its inputs, and the comparison of all files with their records."""
