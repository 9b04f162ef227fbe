"""The HDF5 format of activation files: layout, writer, reader, batches, eviction."""
