"""What runs where and when: pools, backfill policies, tags of runs. Which cells are due is worked out in plan.py."""

import warnings

import dagster as dg

# Partitioned asset checks and backfill policies are what per-cell results need; Dagster marks them as not final.
warnings.filterwarnings("ignore", category=dg.BetaWarning)
warnings.filterwarnings("ignore", category=dg.PreviewWarning)

ACCELERATOR_POOL = "gpu"
"""Pool of the stages that use the accelerator; dagster.yaml sets its slots."""

RECOMPUTE_TAG = "emergence/recompute"
"""Run tag: `true` makes the selected cells anew even if they are up to date."""

ONE_RUN_PER_BACKFILL = dg.BackfillPolicy.single_run()
"""A backfill is one run, so that a forward pass per checkpoint serves all its layers."""

SOME_CELLS_PER_RUN = dg.BackfillPolicy.multi_run(max_partitions_per_run=200)
"""Differs from its parents' policy on purpose: Dagster then gives every stage its own run, and a run over many
partitions, whose asset yields no output, does not make it skip the stages behind."""
