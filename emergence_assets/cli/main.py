"""The `emergence` command. Heavy imports stand inside the commands, so that help and errors are instant."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO, TypeVar

import click

from emergence_assets.cli.audit import audit
from emergence_assets.cli.checkpoints import checkpoints
from emergence_assets.cli.claims import claims
from emergence_assets.cli.convergence import convergence
from emergence_assets.cli.export import export
from emergence_assets.cli.import_saes import import_saes_command
from emergence_assets.cli.probes import probes
from emergence_assets.cli.storage import storage
from resources.errors import EmergenceError

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells expect it."""
F = TypeVar("F", bound=Callable[..., Any])


class Commands(click.Group):
    """Prints problems as what, where and what to do; with --debug as a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command.

        Raises:
            SystemExit: with code 1 after a problem, 130 after Ctrl-C.
        """
        try:
            return super().invoke(ctx)
        except EmergenceError as error:
            if ctx.params.get("debug"):
                raise
            click.secho("error: ", fg="red", bold=True, nl=False, err=True)
            click.echo(str(error), err=True)
            raise SystemExit(1) from None
        except KeyboardInterrupt:
            click.echo("stopped; what is finished is kept, and `emergence run` goes on from there", err=True)
            raise SystemExit(INTERRUPTED) from None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--study", metavar="NAME|PATH", help="Study to work on; default: EMERGENCE_STUDY, else `default`.")
@click.option("--data", metavar="FOLDER", help="Data folder; default: EMERGENCE_DATA, else ./data.")
@click.option(
    "--seed", type=click.IntRange(min=0), help="Move all seeds of the study; results get a folder of their own."
)
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.version_option(package_name="emergence-assets")
def main(study: str | None, data: str | None, seed: int | None, debug: bool) -> None:
    """Measure when in training, where in the layers and from what model size on knowledge has features of its own.

    Type `emergence run` first: it computes the default study and prints the path of the report. `emergence ui` opens
    the Dagster UI on it, `emergence claims` lists its statements. `emergence --study my.yaml run` computes your own
    study; `emergence studies` lists those to start from.
    """
    if study:
        os.environ["EMERGENCE_STUDY"] = study
    if seed is not None:
        os.environ["EMERGENCE_SEED"] = str(seed)
    if data:
        os.environ["EMERGENCE_DATA"] = str(Path(data).absolute())


@main.command()
@click.option("--stage", "stages", multiple=True, metavar="STAGE", help="Only this stage; may be repeated.")
@click.option("--device", metavar="auto|cpu|cuda:N", help="Where to compute; default: EMERGENCE_DEVICE, else auto.")
@click.option("--workers", type=click.IntRange(min=1), help="Worker processes; default: one per core or GPU.")
@click.option("--openlineage", metavar="URL", help="Tell a receiver of OpenLineage events; default: OPENLINEAGE_URL.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def run(
    stages: tuple[str, ...], device: str | None, workers: int | None, openlineage: str | None, as_json: bool
) -> None:
    """Make everything that is missing or out of date, then print the headline and the path of the report."""
    import time

    from rich.console import Console

    from emergence_assets.cli.views.headline import print_result
    from emergence_assets.cli.views.progress import Display

    began = time.monotonic()
    if device:
        os.environ["EMERGENCE_DEVICE"] = device
    if workers:
        os.environ["EMERGENCE_WORKERS"] = str(workers)
    console = Console(file=_own_stream(sys.stderr if as_json else sys.stdout))
    pipeline = _pipeline()
    unknown = set(stages) - set(pipeline.stages)
    if unknown:
        raise EmergenceError(
            f"There is no stage {sorted(unknown)[0]!r}.", remedy=f"choose from {', '.join(pipeline.stages)}"
        )
    with Display(console) as display:
        result = pipeline.run(display, stages or None, openlineage)
    print_result(console, result)
    if as_json:
        click.echo(json.dumps(result, indent=2))
        return
    console.print(f"finished in {time.monotonic() - began:.0f} s", highlight=False)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def status(as_json: bool) -> None:
    """Count the cells of every asset: done, stale, missing, failed."""
    from rich.console import Console
    from rich.table import Table

    pipeline = _pipeline()
    statuses = pipeline.status()
    if as_json:
        click.echo(json.dumps([_as_dict(entry) for entry in statuses], indent=2))
        return
    table = Table(title=f"study {pipeline.study.name}")
    for column in ("stage", "asset", "done", "stale", "missing", "failed", "why"):
        table.add_column(column, no_wrap=column == "asset")
    for entry in statuses:
        counts = [str(count) if count else "·" for count in (entry.done, entry.stale, entry.missing, entry.failed)]
        more = f" (+{len(entry.reasons) - 1} more reasons)" if len(entry.reasons) > 1 else ""
        table.add_row(entry.stage, entry.asset, *counts, (entry.reasons[0] + more) if entry.reasons else "")
    Console().print(table)


@main.command()
@click.option("--port", default=3000, show_default=True, help="Port of the web server.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address of the web server.")
def ui(port: int, host: str) -> None:
    """Open the Dagster UI on the instance of this data folder."""
    import subprocess

    pipeline = _pipeline()
    pipeline.prepare()
    click.echo(f"study {pipeline.study.name}, data in {pipeline.storage.root}; the UI comes up on http://{host}:{port}")
    module = "emergence_assets.definitions"
    command = [sys.executable, "-m", "dagster", "dev", "-m", module, "-h", host, "-p", str(port)]
    raise SystemExit(subprocess.run(command, check=False).returncode)


@main.command()
def studies() -> None:
    """List the studies that come with the package, and the published families that a study may name as its preset."""
    from emergence_assets.study.load import load_study, shipped_studies
    from emergence_assets.study.presets import presets

    for name in shipped_studies():
        study = load_study(name)
        steps = study.listed_steps
        cells = sum(len(steps or ()) * len(study.layers_of(model)) for model in study.models)
        size = f"{len(steps)} steps, {cells} cells" if steps else "all steps"
        click.echo(f"{name}: {len(study.models)} models, {size}; {study.description}")
    click.echo("published families:")
    for name, known in presets().items():
        click.echo(f"  {name}: {', '.join(_shortened(list(known.models)))}")


main.add_command(audit)
main.add_command(checkpoints)
main.add_command(probes)
main.add_command(convergence)
main.add_command(claims)
main.add_command(storage)
main.add_command(export)
main.add_command(import_saes_command)


def _shortened(names: list[str], most: int = 6) -> list[str]:
    return names if len(names) <= most else [*names[: most - 2], "…", names[-1]]


def _own_stream(stream: TextIO) -> TextIO:
    """The same terminal or file under a descriptor of our own: Dagster redirects the standard ones during a run."""
    return os.fdopen(os.dup(stream.fileno()), "w", encoding="utf-8", buffering=1)


def _as_dict(entry: Any) -> dict[str, Any]:
    import dataclasses

    return dataclasses.asdict(entry) | {"total": entry.total}


def _pipeline() -> Any:
    from emergence_assets.orchestration.session import Session

    return Session.open()


if __name__ == "__main__":
    main()
