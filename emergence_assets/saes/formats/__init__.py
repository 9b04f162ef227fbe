"""Folder layouts of SAEs: ours, which is that of sae_lens, and those of other libraries."""
