"""Jobs that the UI offers: one per stage and one for all, doing what `emergence run` does."""

from collections.abc import Callable, Sequence

import dagster as dg

from emergence_assets.orchestration.instance.home import claim_run
from emergence_assets.orchestration.runs.log_progress import LogListener
from emergence_assets.orchestration.runs.study_run import run_study
from emergence_assets.pipeline import specs_for
from emergence_assets.study.study import Study
from resources.compute.task import Compute
from resources.files.storage import Storage


def stage_jobs(
    study: Study, storage: Storage, stages: Sequence[str], definitions: Callable[[Compute], dg.Definitions]
) -> list[dg.JobDefinition]:
    """A job per stage and one for all.

    They are jobs of one op, because a Dagster asset job takes assets with one partitions definition only, and the
    models of a study have one each.
    """
    return [
        _job(study, storage, definitions, "all_stages", None),
        *(_job(study, storage, definitions, stage, stage) for stage in stages),
    ]


def _job(
    study: Study, storage: Storage, definitions: Callable[[Compute], dg.Definitions], name: str, stage: str | None
) -> dg.JobDefinition:
    what = f"stage {stage}" if stage else "all stages"

    @dg.op(name=f"run_{name}", required_resource_keys={"compute"}, description=f"Makes what is due of {what}.")
    def work(context: dg.OpExecutionContext) -> None:
        claim_run(context.instance, context.run)
        run_study(
            study,
            storage,
            definitions(context.resources.compute),
            specs_for(study),
            context.instance,
            LogListener(context.log),
            [stage] if stage else None,
        )

    @dg.job(name=name, description=f"Makes everything that is missing or out of date in {what}.")
    def run() -> None:
        work()

    return run
