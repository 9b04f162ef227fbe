"""How well the best latent of every category identifies it."""
