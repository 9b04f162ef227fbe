"""Charts of the report as Altair specifications."""
