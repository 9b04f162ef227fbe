"""The study file: its schema, presets, and the studies that come with the package."""
