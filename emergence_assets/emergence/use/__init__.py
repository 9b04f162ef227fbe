"""Use of latents: the loss of a model on a category's texts without the best latent of the category."""
