"""Files, tables, HDF5, worker processes and the hub client: knows nothing of emergence."""
