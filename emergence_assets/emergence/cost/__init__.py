"""Cost of training, utility of features, and the stopping rule."""
