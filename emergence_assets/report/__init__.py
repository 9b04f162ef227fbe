"""The report. Specs and checks here; `charts` draws, `page` writes."""
