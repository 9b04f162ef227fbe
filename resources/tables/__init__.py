"""StrictModel tables: parquet files, checks of data quality."""
