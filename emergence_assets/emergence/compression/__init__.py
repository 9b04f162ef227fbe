"""Which features a compressed model keeps."""
