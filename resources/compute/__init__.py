"""Worker processes and devices."""
