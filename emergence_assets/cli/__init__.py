"""Commands: read arguments, call the other packages and print. Their imports need neither dagster nor torch."""
