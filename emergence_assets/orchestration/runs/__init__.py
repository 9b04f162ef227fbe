"""One run of a study: batches of cells, progress, missing events, OpenLineage."""
