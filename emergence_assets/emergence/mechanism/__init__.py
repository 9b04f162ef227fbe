"""Mechanism of a feature that returns in late layers: direct contributions of blocks, and ablation."""
