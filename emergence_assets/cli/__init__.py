"""Commands: read arguments, call the packages below, print. No dagster and no torch when imported."""
