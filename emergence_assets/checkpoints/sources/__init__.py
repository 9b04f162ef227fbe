"""Sources of checkpoints: a model hub, a local folder, training in this study."""
