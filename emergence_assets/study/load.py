"""Read study files; errors name the field."""

import os
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from emergence_assets.study.seeds import MOST, reseeded
from emergence_assets.study.study import Study
from resources.errors import EmergenceError
from resources.files.plain_yaml import read_yaml
from resources.files.storage import path_of

SHOWN_ERRORS, SHOWN_CHARACTERS, SHOWN_PROBLEM = 20, 80, 1000
"""Most errors of a study file in a message, and most characters of a value and of a problem."""
STUDIES_FOLDER = Path(__file__).parent / "studies"


def shipped_studies() -> list[str]:
    """Names of the studies that come with the package."""
    return sorted(path.stem for path in STUDIES_FOLDER.glob("*.yaml"))


def load_study(name_or_path: str | None = None, seed: int | None = None) -> Study:
    """Read a study by the name of a shipped file or by path.

    Args:
        name_or_path: by default EMERGENCE_STUDY, else `default`.
        seed: number of the study's variant with other seeds (`seeds.py`); by default EMERGENCE_SEED.

    Raises:
        EmergenceError: no such study, not YAML, or an invalid field; names field, value and remedy.
    """
    chosen = name_or_path or os.environ.get("EMERGENCE_STUDY") or "default"
    path = path_of(chosen)
    if path.suffix not in (".yaml", ".yml"):
        path = STUDIES_FOLDER / f"{chosen}.yaml"
    if not os.path.isfile(path):  # noqa: PTH113 - false for impossible names too
        raise EmergenceError(
            f"There is no study {chosen!r}.",
            where=path,
            remedy=f"choose one of {', '.join(shipped_studies())}, or give the path of a .yaml file",
        )
    study, seed = parse_study(read_yaml(path), where=str(path)), _seed() if seed is None else seed
    return parse_study(reseeded(study.model_dump(), seed), where=str(path)) if seed else study


def _seed() -> int:
    wanted = os.environ.get("EMERGENCE_SEED") or "0"
    if not wanted.isdecimal() or len(wanted) > 9 or int(wanted) > MOST:
        raise EmergenceError(
            f"EMERGENCE_SEED is {wanted[:SHOWN_CHARACTERS]!r}.", remedy=f"set it to a number from 0 to {MOST}"
        )
    return int(wanted)


def parse_study(declared: Any, where: str = "study") -> Study:
    """Check a parsed study file.

    Raises:
        EmergenceError: fields are invalid; one line for each.
    """
    try:
        return Study.model_validate(declared)
    except ValidationError as error:
        found = error.errors(include_url=False)
        problems = [f"  - {_field_problem(dict(problem))}" for problem in found[:SHOWN_ERRORS]]
        if len(found) > SHOWN_ERRORS:
            problems.append(f"  and {len(found) - SHOWN_ERRORS} more")
        count = "an error" if len(found) == 1 else f"{len(found)} errors"
        raise EmergenceError(
            "\n".join([f"The study file has {count}:", *problems]),
            where=where,
            remedy="correct the named fields; emergence_assets/study/study.py documents all of them",
        ) from None


def _field_problem(problem: dict[str, Any]) -> str:
    """Describe a problem in one line: field, problem, remedy, value."""
    field = ".".join(str(part) for part in problem["loc"] if part not in ("(word)", "(list)")) or "the study"
    field = field[:SHOWN_PROBLEM]
    if problem["type"] == "extra_forbidden":
        return f"{field}: unknown key; check its spelling and indentation"
    if problem["type"] == "missing":
        return f"{field}: is required; add it"
    message = problem["msg"].removeprefix("Value error, ")[:SHOWN_PROBLEM]
    value = problem.get("input")
    if isinstance(value, int) and value.bit_length() > 400:
        shown = f" (found a number of {value.bit_length()} bits)"  # Python writes none of more than 4300 digits
    elif isinstance(value, str | int | float | bool | None):
        text = repr(value)
        shown = f" (found {text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + '…'})"
    else:
        shown = ""
    return f"{field}: {message}{shown}"
