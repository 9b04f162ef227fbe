"""SAEs as tensors: parameters, selection of latents, stacks."""
