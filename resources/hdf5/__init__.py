"""HDF5 files, read as hostile input."""
