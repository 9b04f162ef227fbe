"""The HTML page of the report: text, tables and the template."""
