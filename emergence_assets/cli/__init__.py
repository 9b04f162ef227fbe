"""Commands: read arguments, call the other packages and print. The imports at the top need neither dagster nor torch."""
