"""Training of stacks of SAEs: gradients, optimiser, batches, states to resume from after a kill."""
