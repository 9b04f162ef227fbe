"""Files of a checkpoint folder, read as hostile input."""
