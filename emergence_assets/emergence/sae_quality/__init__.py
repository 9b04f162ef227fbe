"""Quality of all SAEs of a model as one table."""
