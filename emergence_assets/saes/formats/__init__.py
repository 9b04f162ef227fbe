"""Folder layouts of SAEs: our own, which sae_lens loads, and those of other libraries."""
