"""Training of stacks of SAEs: gradients, optimiser, batches, states that survive a kill."""
