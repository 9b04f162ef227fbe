"""Statistical power and confounds of the texts of a study, before anything runs."""
