"""The statistics, on arrays and frames; needs torch and scikit-learn."""
