"""Which blocks write a feature that comes back: direct contributions and ablation."""
