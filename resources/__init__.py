"""Files, tables, HDF5, worker processes and the hub client. Imports nothing of `emergence_assets`."""
