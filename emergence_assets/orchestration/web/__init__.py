"""The Dagster UI of a study, behind a guard against the pages of other servers."""
