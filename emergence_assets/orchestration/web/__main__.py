"""Dagster's web server with the guard in front; options as of `dagster-webserver`."""

import os
import socket
import sys
from typing import Any

from dagster_webserver import cli

from emergence_assets.orchestration.web.guard import LOCAL, App, Guard

HOSTS = "EMERGENCE_UI_HOSTS"
"""Further names of this server, separated by commas: those of a proxy with a login in front of it."""


def guarded(make_app: Any) -> Any:
    """Wrap the function with which Dagster makes its application."""

    def make(*arguments: Any, **named: Any) -> App:
        bound = _option("-h", "--host") or LOCAL[0]
        names = [name.strip() for name in os.environ.get(HOSTS, "").split(",") if name.strip()]
        is_open = bound not in LOCAL
        own = [bound, socket.gethostname(), socket.getfqdn()] if is_open else []
        return Guard(make_app(*arguments, **named), [*names, *own], any_address=is_open)

    return make


def _option(*names: str) -> str:
    """Return the value of an option of the command line; empty without it."""
    return next((value for name, value in zip(sys.argv, sys.argv[1:], strict=False) if name in names), "")


if __name__ == "__main__":
    # Dagster has no setting for middleware. Its command line looks the function up under this name.
    cli.create_app_from_workspace_process_context = guarded(cli.create_app_from_workspace_process_context)
    cli.cli(auto_envvar_prefix="DAGSTER_WEBSERVER")
