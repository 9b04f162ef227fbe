"""`emergence explore`: look at categories, latents and texts of a study in the browser."""

import os
import secrets
import shutil
import sys
from pathlib import Path

import click

from emergence_assets.cli.options import open_study
from resources.errors import EmergenceError


@click.command()
@click.option("--port", default=2718, show_default=True, help="Port on this machine.")
@click.option("--headless", is_flag=True, help="Print the address, and open no browser.")
@click.option("--edit", is_flag=True, help="Copy the explorer into this folder and open it as a notebook to change.")
def explore(port: int, headless: bool, edit: bool) -> None:
    """Look at a study in the browser: claims, categories over steps and layers, latents and their texts.

    It only reads, also while a run goes on. It listens on this machine alone, and the address that it prints has a
    password, because other pages in the same browser can reach this machine too.
    """
    import emergence_assets.explorer as explorer
    from emergence_assets.api.study_results import open_study as open_results
    from resources.files.storage import data_folder

    plan = open_study()
    study = os.environ.get("EMERGENCE_STUDY") or "default"
    seed = int(os.environ.get("EMERGENCE_SEED") or 0)
    open_results(study, data_folder(), seed)  # refuses a study without results, with the command that makes them
    app = Path(str(explorer.__file__)).with_name("app.py")
    if edit:
        app = _copied(app, Path.cwd() / f"explore_{plan.study.name.replace('-', '_')}.py")
    arguments = ["edit", "--skip-update-check"] if edit else ["run"]
    arguments += [str(app), "--host", "127.0.0.1", "--port", str(port)]
    arguments += ["--token", "--token-password", secrets.token_urlsafe(16), *(["--headless"] if headless else [])]
    chosen = ["--study", study, "--data", str(data_folder()), "--seed", str(seed)]
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "marimo", *arguments, "--", *chosen])


def _copied(app: Path, copy: Path) -> Path:
    """Copy the explorer, unless a copy is there, which may have been changed.

    Raises:
        EmergenceError: the folder cannot be written.
    """
    if not copy.exists():
        try:
            shutil.copyfile(app, copy)
        except OSError as error:
            raise EmergenceError(f"The explorer cannot be copied: {error.strerror}.", where=copy) from None
    click.echo(f"the notebook is {copy}; its cells run when you press the run button")
    return copy
