"""Permitted ranges of the best latent's mean AUROC under permuted labels."""

BLOCKING_RANGE = (0.46, 0.54)
"""Range of the mean over the categories of one cell. Outside of it selection leaks into scoring, and the run stops. It
is wide, because a mean over few categories with few texts is noisy, and a sound study must not be stopped."""
REPORTED_RANGE = (0.48, 0.52)
"""Range of every cell's mean for a report that states a finding. Measured on the embedded family: 0.486 to 0.514. A
study outside of it is computed to its end, and its report claims no emergence."""
