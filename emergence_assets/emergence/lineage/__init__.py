"""Latents matched over steps, seeds, layers and sizes."""
