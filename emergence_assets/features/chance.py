"""Ranges in which the best latent's AUROC has to lie when labels are permuted."""

BLOCKING_RANGE = (0.46, 0.54)
"""Of the mean over the categories of one cell. Outside of it selection leaks into scoring, and the run stops. Wide,
because a mean over few categories with few texts is noisy, and a sound study must not be stopped."""
REPORTED_RANGE = (0.48, 0.52)
"""Of every cell's mean, for a page that states a finding. Measured on the embedded family: 0.486 to 0.514. A study
outside of it is computed to its end, and its page claims nothing."""
