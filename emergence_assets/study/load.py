"""Reads study files; errors name the field."""

import os
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from emergence_assets.study.seeds import MOST, reseeded
from emergence_assets.study.study import Study
from resources.errors import EmergenceError
from resources.files.plain_yaml import read_yaml

STUDIES_FOLDER = Path(__file__).parent / "studies"


def shipped_studies() -> list[str]:
    """Names of the studies that come with the package."""
    return sorted(path.stem for path in STUDIES_FOLDER.glob("*.yaml"))


def load_study(name_or_path: str | None = None, seed: int | None = None) -> Study:
    """Read a study by shipped name or by path; by default the one that EMERGENCE_STUDY names, else `default`.

    Args:
        name_or_path: the study.
        seed: moves all its seeds (`seeds.py`); by default EMERGENCE_SEED.

    Raises:
        EmergenceError: no such study, not YAML, or a field that does not fit; names field, value and remedy.
    """
    chosen = name_or_path or os.environ.get("EMERGENCE_STUDY") or "default"
    path = Path(chosen)
    if path.suffix not in (".yaml", ".yml"):
        path = STUDIES_FOLDER / f"{chosen}.yaml"
    if not _is_file(path):
        raise EmergenceError(
            f"There is no study {chosen!r}.",
            where=path,
            remedy=f"choose one of {', '.join(shipped_studies())}, or give the path of a .yaml file",
        )
    study, seed = parse_study(read_yaml(path), where=str(path)), _seed() if seed is None else seed
    return parse_study(reseeded(study.model_dump(), seed), where=str(path)) if seed else study


def _seed() -> int:
    wanted = os.environ.get("EMERGENCE_SEED") or "0"
    if not wanted.isdecimal() or int(wanted) > MOST:
        raise EmergenceError(f"EMERGENCE_SEED is {wanted!r}.", remedy=f"set it to a number from 0 to {MOST}")
    return int(wanted)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that no file system takes
        return False


def parse_study(declared: Any, where: str = "study") -> Study:
    """Check a parsed study file.

    Raises:
        EmergenceError: one line per field that does not fit.
    """
    try:
        return Study.model_validate(declared)
    except ValidationError as error:
        problems = [_field_problem(dict(problem)) for problem in error.errors()]
        raise EmergenceError(
            "The study file has "
            + ("an error" if len(problems) == 1 else f"{len(problems)} errors")
            + ":\n"
            + "\n".join(f"  - {problem}" for problem in problems),
            where=where,
            remedy="correct the named fields; the fields are documented in emergence_assets/study.py",
        ) from None


def _field_problem(problem: dict[str, Any]) -> str:
    """One line: field, value, what is wrong, what would be right."""
    field = ".".join(str(part) for part in problem["loc"] if part not in ("(word)", "(list)")) or "the study"
    if problem["type"] == "extra_forbidden":
        return f"{field}: unknown key; check its spelling and indentation"
    if problem["type"] == "missing":
        return f"{field}: is required; add it"
    message = problem["msg"].removeprefix("Value error, ")
    value = problem.get("input")
    shown = f" (found {value!r})" if isinstance(value, str | int | float | bool | None) else ""
    return f"{field}: {message}{shown}"
