"""Declarations of tables, their parquet files, checks of data quality."""
