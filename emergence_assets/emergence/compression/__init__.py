"""Features that a compressed model keeps."""
