"""The report: its specification and checks; charts are in `charts`, the page in `page`."""
