"""Folder formats of SAEs, ours and those of other libraries."""
