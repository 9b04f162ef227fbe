"""Where checkpoints come from: a model hub, a local folder, training in this study."""
