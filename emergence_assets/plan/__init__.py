"""Which cells there are, what each is made from and what state it is in. No dagster and no torch."""
