"""An SAE as tensors: variants, selection of latents, stacks."""
