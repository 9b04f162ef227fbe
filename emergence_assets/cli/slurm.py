"""`emergence slurm`: print a job script that runs the study on several machines of a Slurm cluster."""

import os
import re
import shlex
import sys
from pathlib import Path

import click

from emergence_assets.cli.options import open_study
from resources.errors import EmergenceError

TEMPLATE = Path(__file__).with_name("slurm_job.sh")
WARNING_SECONDS = 120
"""Time before the limit at which the run is interrupted; it ends within seconds, and the rest is for slow disks."""


@click.command()
@click.option("--nodes", type=click.IntRange(min=1), default=1, show_default=True, help="Machines.")
@click.option("--gpus", type=click.IntRange(min=0), default=0, show_default=True, help="GPUs of each machine.")
@click.option("--cpus", type=click.IntRange(min=1), default=8, show_default=True, help="Cores of each machine.")
@click.option("--time", "limit", default="24:00:00", show_default=True, help="Time limit, in a form of sbatch --time.")
@click.option("--warning", type=click.IntRange(min=1), default=WARNING_SECONDS, hidden=True)
@click.option(
    "--option", "options", multiple=True, metavar="--NAME=VALUE", help="Another option of sbatch; repeatable."
)
def slurm(nodes: int, gpus: int, cpus: int, limit: str, warning: int, options: tuple[str, ...]) -> None:
    """Print a job script for this study: `emergence slurm --nodes 4 --gpus 8 > job.sh`, then `sbatch job.sh`.

    The script starts a Ray cluster as steps of the job, with a token of its own, and runs the study on it. Before the
    time limit it interrupts the run and puts itself back into the queue; the run goes on where it was. Study file and
    data folder must lie on a file system that all machines see.
    """
    from resources.files.storage import data_folder

    plan = open_study()
    chosen = os.environ.get("EMERGENCE_STUDY") or "default"
    study = str(Path(chosen).absolute()) if Path(chosen).suffix in (".yaml", ".yml") else chosen
    if not re.fullmatch(r"[0-9]+([:-][0-9]+)*", limit):
        raise EmergenceError(f"--time is {limit!r}.", remedy="give MINUTES, HOURS:MINUTES:SECONDS or DAYS-HOURS")
    for option in options:
        if not re.fullmatch(r"--?[A-Za-z][\w-]*([= ]\S+)?", option):
            raise EmergenceError(
                f"--option is {option!r}.", remedy="give one option of sbatch, such as --partition=gpu"
            )
    lines = [f"#SBATCH --gpus-per-node={gpus}"] if gpus else []
    values = {
        "STUDY_NAME": plan.study.name,
        "NODES": str(nodes),
        "CPUS": str(cpus),
        "TIME": limit,
        "WARNING": str(warning),
        "OPTIONS": "\n".join([*lines, *(f"#SBATCH {option}" for option in options)]),
        "STEP_OPTIONS": f"--gpus-per-node={gpus}" if gpus else "",
        "BIN": shlex.quote(str(Path(sys.executable).parent)),
        "STUDY": shlex.quote(study),
        "DATA": shlex.quote(str(data_folder())),
        "SEED": os.environ.get("EMERGENCE_SEED") or "0",
    }
    script = re.sub(r"@([A-Z_]+)@", lambda name: values[name[1]], TEMPLATE.read_text(encoding="utf-8"))
    click.echo(re.sub(r"\n\n(?=# Made by)", "\n", script), nl=False)
