"""An SAE as tensors: parameters, selection of latents, stacks."""
