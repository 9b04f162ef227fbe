"""The statistics themselves, on arrays and frames; needs torch and scikit-learn."""
