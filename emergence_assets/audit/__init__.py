"""Where a number comes from, and whether everything is still what was recorded."""
