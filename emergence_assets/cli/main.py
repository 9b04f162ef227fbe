"""The `emergence` command. Heavy imports are inside the commands, so that help and errors are instant."""

import errno
import io
import os
import sys
from typing import Any

import click

from emergence_assets.cli.audit import audit
from emergence_assets.cli.checkpoints import checkpoints
from emergence_assets.cli.claims import claims
from emergence_assets.cli.convergence import convergence
from emergence_assets.cli.explore import explore
from emergence_assets.cli.export import export
from emergence_assets.cli.import_saes import import_saes_command
from emergence_assets.cli.options import as_json_option, open_study, show, table, warning
from emergence_assets.cli.probes import probes
from emergence_assets.cli.run import run
from emergence_assets.cli.slurm import slurm
from emergence_assets.cli.storage import storage
from resources.errors import EmergenceError
from resources.files.atomic import explained
from resources.files.storage import path_of
from resources.printable import printable

INTERRUPTED = 130
"""Exit code after Ctrl-C, by the convention of shells."""


class Commands(click.Group):
    """Prints an error as what, where and what to do; with --debug as a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command.

        Raises:
            SystemExit: with code 1 after an error, 130 after Ctrl-C.
        """
        try:
            return super().invoke(ctx)
        except EmergenceError as error:
            if ctx.params.get("debug"):
                raise
            _refuse(str(error))
            raise SystemExit(1) from None
        except OSError as error:
            if ctx.params.get("debug") or error.errno in (None, errno.EPIPE):
                raise
            _refuse(str(explained(error)))
            raise SystemExit(1) from None
        except KeyboardInterrupt:
            click.echo("stopped; finished cells are kept, and `emergence run` continues from there", err=True)
            raise SystemExit(INTERRUPTED) from None


def _refuse(message: str) -> None:
    click.secho("error: ", fg="red", bold=True, nl=False, err=True)
    click.echo(printable(message), err=True)


def _encode_anything() -> None:
    """Show what the encoding of the terminal lacks by its escape."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--study", metavar="NAME|PATH", help="Study to work on; default: EMERGENCE_STUDY, else `default`.")
@click.option("--data", metavar="FOLDER", help="Data folder; default: EMERGENCE_DATA, else ./data.")
@click.option(
    "--seed", type=click.IntRange(min=0), help="Shift all seeds of the study; results get a folder of their own."
)
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.version_option(package_name="emergence-assets")
def main(study: str | None, data: str | None, seed: int | None, debug: bool) -> None:
    """Measure when in training, where in the layers and from what model size on knowledge has features of its own.

    Type `emergence run` first: it computes the default study and prints the path of the report. `emergence ui` opens
    the Dagster UI, `emergence claims` lists the claims. `emergence --study my.yaml run` computes your own study;
    `emergence studies` lists the studies to start from.
    """
    _encode_anything()
    if study:
        os.environ["EMERGENCE_STUDY"] = study
    if seed is not None:
        os.environ["EMERGENCE_SEED"] = str(seed)
    if data:
        os.environ["EMERGENCE_DATA"] = str(path_of(data).absolute())


@main.command()
@as_json_option
def status(as_json: bool) -> None:
    """Count the cells of every asset: done, stale, missing, failed."""
    from dataclasses import asdict

    from emergence_assets.orchestration.session import status_of_study

    plan = open_study()
    statuses = status_of_study(plan)
    rows = []
    for one in statuses:
        more = f" (+{len(one.reasons) - 1} more reasons)" if len(one.reasons) > 1 else ""
        counts = (count or None for count in (one.done, one.stale, one.missing, one.failed))
        rows.append((one.stage, one.asset, *counts, (one.reasons[0] + more) if one.reasons else ""))
    listed = table(("stage", "asset", "done", "stale", "missing", "failed", "why"), rows, f"study {plan.study.name}")
    show([asdict(one) | {"total": one.total} for one in statuses], as_json, listed)


@main.command()
@click.option("--port", default=3000, show_default=True, help="Port of the web server.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address of the web server.")
def ui(port: int, host: str) -> None:
    """Open the Dagster UI on the instance of this data folder.

    It has no login. With another --host than this machine, put a proxy with a login in front, and name the proxy in
    EMERGENCE_UI_HOSTS.
    """
    from emergence_assets.orchestration.session import prepare_instance
    from emergence_assets.orchestration.web.guard import LOCAL
    from emergence_assets.orchestration.web.services import serve

    plan = open_study()
    prepare_instance(plan)
    click.echo(f"study {plan.study.name}, data in {plan.storage.root}; the UI starts on http://{host}:{port}")
    if host not in LOCAL:
        click.echo(warning(f"the UI has no login: everyone who reaches {host} can change and delete results"), err=True)
    raise SystemExit(serve(host, port))


@main.command()
def studies() -> None:
    """List the studies of the package, and the published families that a study may name as its preset."""
    from emergence_assets.study.load import load_study, shipped_studies
    from emergence_assets.study.presets import presets

    for name in shipped_studies():
        study = load_study(name)
        steps = study.listed_steps
        cells = sum(len(steps or ()) * len(study.layers_of(model)) for model in study.models)
        size = f"{len(steps)} steps, {cells} cells" if steps else "all steps"
        click.echo(printable(f"{name}: {len(study.models)} models, {size}; {study.description}"))
    click.echo("published families:")
    for name, known in presets().items():
        models = list(known.models)
        click.echo(f"  {name}: {', '.join(models if len(models) <= 6 else [*models[:4], '…', models[-1]])}")


for command in (
    run,
    audit,
    checkpoints,
    probes,
    convergence,
    claims,
    explore,
    slurm,
    storage,
    export,
    import_saes_command,
):
    main.add_command(command)


if __name__ == "__main__":
    main()
