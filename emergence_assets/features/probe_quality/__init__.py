"""What the texts of a study can show before anything runs."""
