"""The hash of the code of a result, on a small tree of modules and on a copy of the project."""

import inspect
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from emergence_assets.pipeline import SPECS
from emergence_assets.plan.code_version import code_version, reached
from resources.tables import columns

ROOT = Path(__file__).parents[2]
HASHED_BY = (
    *("__init__.py", "plan/__init__.py", "plan/code_version.py", "plan/code_definitions.py"),
    *("../resources/__init__.py", "../resources/errors.py"),
    *("../resources/files/__init__.py", "../resources/files/provenance.py"),
)
MODULES = {
    "features/rules.py": (
        '"""Doc."""\nLIFT = 2.0\nFLOOR = 5\n\n\ndef lift(x: float) -> float:\n    """Doc."""\n    return x * LIFT\n'
        "\n\ndef floor(x):\n    return max(x, FLOOR)\n"
    ),
    "features/cell.py": (
        '"""Doc."""\nfrom emergence_assets.features.rules import lift\n\n\ndef stats(x):\n    return lift(x)\n'
    ),
    "features/labels.py": (
        "LEVELS = 3\n\n\nclass Labels:\n    levels: int = LEVELS\n\n    def all(self):\n        return range(LEVELS)\n"
    ),
    "features/empty.py": '"""Nothing yet."""\n',
    "saes/sae.py": "from emergence_assets.features import labels\ndef sae():\n    return labels.LEVELS\n",
    "features/tables.py": (
        "from resources.tables.columns import count\nfrom resources.tables.table import Column, Table\n\n"
        'COUNTS = Table("counts", "One row.", (count("k", "active"), Column("n", Int32, "texts", "texts")), ("n",))\n'
    ),
    "../resources/tables/columns.py": (
        "from resources.tables.table import Column\n\n\n"
        'def count(name, description):\n    """Doc."""\n    return Column(name, UInt8, description, "things", 0)\n'
    ),
    "saes/lazy.py": (
        "def late():\n    import emergence_assets.features.rules\n\n    return emergence_assets.features.rules.LIFT\n"
    ),
    "saes/pool.py": (
        "def even(n):\n    return n == 0 or odd(n - 1)\n\n\ndef odd(n):\n    return n != 0 and even(n - 1)\n"
    ),
    "saes/shadow.py": (
        "from emergence_assets.features.statistics.labels import LEVELS\n\n\n"
        "def shadow(LEVELS):\n    return [LEVELS for _ in range(2)]\n"
    ),
    "saes/mover.py": (
        "from emergence_assets.study.study import Study\nfrom emergence_assets.durable import replacing_file\n\n\n"
        "def move(path):\n    with replacing_file(path) as file:\n        return Study(file)\n"
    ),
    "saes/fails.py": (
        'def fail(n):\n    if n > 3:\n        raise ValueError(f"{n} is too large" + str(n))\n    return n\n'
    ),
    "saes/registry.py": "KINDS = {}\nKINDS['a'] = 1\n\n\ndef kind(name):\n    return KINDS[name]\n",
    "study/study.py": "class Study: pass\n",
    "durable.py": "def replacing_file(path): pass\n",
}
Version = Callable[..., str]


def functions_of(folder: Path) -> tuple[Version, Callable[[str], list[str]]]:
    """Return `code_version` and `reached` of the tree in its present state; a process reads every module once."""
    program = "import sys; from emergence_assets.plan.code_version import *; print(code_version(*sys.argv[1:]))"

    def version(*functions: str) -> str:
        names = [name if name.startswith("emergence_assets") else f"emergence_assets.{name}" for name in functions]
        return ran(folder, program, names)

    def reach(function: str) -> list[str]:
        listed = "import sys; from emergence_assets.plan.code_version import *; print(*reached(sys.argv[1]))"
        return ran(folder, listed, [function]).split()

    return version, reach


def ran(folder: Path, program: str, arguments: Sequence[str]) -> str:
    command = [sys.executable, "-S", "-c", program, *arguments]
    finished = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.strip()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    package = tmp_path / "emergence_assets"
    for name, text in MODULES.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    for name in HASHED_BY:
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "emergence_assets" / name, package / name)
    return package


@pytest.fixture
def version(tree: Path) -> Version:
    """Compute `code_version` of the present tree; functions are named without the package."""
    return functions_of(tree.parent)[0]


def replace(path: Path, before: str, after: str) -> None:
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after))


def test_text_for_people_and_layout_do_not_count(tree: Path, version: Version) -> None:
    before = version("features.cell:stats", "saes.fails:fail")
    replace(tree / "features/rules.py", '"""Doc."""\nLIFT', '"""Other."""\n# why\nLIFT')
    replace(
        tree / "features/rules.py", '    """Doc."""\n    return x * LIFT', "    return (\n        x * LIFT  # so\n    )"
    )
    replace(tree / "features/rules.py", "x: float) -> float", "x)")
    replace(tree / "features/cell.py", '"""Doc."""\n', "")
    replace(tree / "saes/fails.py", "{n} is too large", "choose less than {n}")
    assert version("features.cell:stats", "saes.fails:fail") == before


def test_the_meaning_of_a_column_is_documentation_and_its_type_is_not(tree: Path, version: Version) -> None:
    old = version("features.tables:COUNTS")
    replace(tree / "features/tables.py", '"One row."', '"One row per cell."')
    replace(tree / "features/tables.py", 'Int32, "texts"', 'Int32, "texts with a label"')
    replace(tree / "features/tables.py", '"active"', '"active texts"')
    replace(tree / "../resources/tables/columns.py", "Doc.", "Number of things.")
    assert version("features.tables:COUNTS") == old


@pytest.mark.parametrize(
    ("module", "before", "after"),
    [
        ("features/tables.py", "Int32", "Int64"),
        ("features/tables.py", 'count("k"', 'count("c"'),
        ("../resources/tables/columns.py", "UInt8", "UInt16"),
        ("../resources/tables/columns.py", '"things"', '"texts"'),
    ],
)
def test_type_unit_and_name_of_a_column_count(
    tree: Path, version: Version, module: str, before: str, after: str
) -> None:
    old = version("features.tables:COUNTS")
    replace(tree / module, before, after)
    assert version("features.tables:COUNTS") != old


def test_every_kind_of_column_takes_its_description_second() -> None:
    kinds = [kind for kind in vars(columns).values() if inspect.isfunction(kind)]
    assert len(kinds) > 10
    for kind in kinds:
        assert list(inspect.signature(kind).parameters)[:2] == ["name", "description"], kind.__name__


def test_code_that_moves_to_another_module_keeps_its_version(tree: Path, version: Version) -> None:
    old = version("features.cell:stats"), version("saes.lazy:late")
    text = (tree / "features/rules.py").read_text()
    (tree / "saes/moved.py").write_text(text)
    (tree / "features/rules.py").unlink()
    replace(
        tree / "features/cell.py", "emergence_assets.features.rules import lift", "emergence_assets.saes import moved"
    )
    replace(tree / "features/cell.py", "lift(x)", "moved.lift(x)")
    replace(
        tree / "saes/lazy.py", "import emergence_assets.features.rules", "from emergence_assets.saes.moved import LIFT"
    )
    replace(tree / "saes/lazy.py", "emergence_assets.features.rules.LIFT", "LIFT")
    assert (version("features.cell:stats"), version("saes.lazy:late")) == old
    (tree / "features/cell.py").rename(tree / "features/statistics.py")
    assert version("features.statistics:stats") == old[0]


def test_an_import_inside_a_function_may_move_to_the_top(tree: Path, version: Version) -> None:
    old = version("saes.lazy:late")
    line = "import emergence_assets.features.rules\n"
    replace(tree / "saes/lazy.py", f"    {line}\n", "")
    replace(tree / "saes/lazy.py", "def late", f"{line}\n\ndef late")
    assert version("saes.lazy:late") == old


def test_code_that_a_module_hands_on_is_followed(tree: Path, version: Version) -> None:
    old = version("features.cell:stats")
    (tree / "features/front.py").write_text("from emergence_assets.features.rules import lift\n")
    replace(tree / "features/cell.py", "features.rules import", "features.front import")
    assert version("features.cell:stats") == old


@pytest.mark.parametrize(
    ("before", "after"),
    [("LIFT = 2.0", "LIFT = 2.5"), ("x * LIFT", "x + LIFT"), ("def lift(x: float)", "def lift(x: float = 1)")],
)
def test_a_change_of_used_code_counts(tree: Path, version: Version, before: str, after: str) -> None:
    old = version("features.cell:stats")
    replace(tree / "features/rules.py", before, after)
    assert version("features.cell:stats") != old


def test_a_change_of_unused_code_does_not_count(tree: Path, version: Version) -> None:
    old = version("features.cell:stats")
    replace(tree / "features/rules.py", "FLOOR = 5", "FLOOR = 6")
    replace(tree / "features/labels.py", "3", "4")
    assert version("features.cell:stats") == old


@pytest.mark.parametrize(
    ("function", "module", "before", "after"),
    [
        ("saes.sae:sae", "features/labels.py", "LEVELS = 3", "LEVELS = 4"),
        ("saes.lazy:late", "features/rules.py", "2.0", "3.0"),
        ("features.labels:Labels", "features/labels.py", "LEVELS = 3", "LEVELS = 4"),
        ("features.labels:Labels", "features/labels.py", "levels: int", "levels: float"),
        ("saes.pool:even", "saes/pool.py", "n != 0", "n > 0"),
        ("saes.registry:kind", "saes/registry.py", "['a'] = 1", "['a'] = 2"),
        ("saes.mover:move", "saes/mover.py", "Study(file)", "Study()"),
    ],
)
def test_every_way_to_use_code_is_followed(
    tree: Path, version: Version, function: str, module: str, before: str, after: str
) -> None:
    old = version(function)
    replace(tree / module, before, after)
    assert version(function) != old


def test_a_local_name_is_no_use_of_a_global_one(tree: Path, version: Version) -> None:
    old = version("saes.shadow:shadow")
    replace(tree / "features/labels.py", "LEVELS = 3", "LEVELS = 4")
    assert version("saes.shadow:shadow") == old


def test_code_that_only_moves_results_does_not_count(tree: Path, version: Version) -> None:
    old = version("saes.mover:move")
    replace(tree / "study/study.py", "pass", "x = 1")
    replace(tree / "durable.py", "pass", "return 1")
    assert version("saes.mover:move") == old
    (tree / "durable.py").rename(tree / "atomic.py")
    replace(tree / "saes/mover.py", "emergence_assets.durable", "emergence_assets.atomic")
    assert version("saes.mover:move") == old
    replace(tree / "saes/mover.py", "replacing_file", "replacing_folder")
    assert version("saes.mover:move") != old


def test_the_order_in_which_functions_are_named_does_not_count(version: Version) -> None:
    assert version("saes.sae:sae", "features.cell:stats") == version("features.cell:stats", "saes.sae:sae")
    assert version("saes.sae:sae", "features.cell:stats") != version("features.cell:stats")


def test_an_undefined_name_has_no_version() -> None:
    with pytest.raises(ValueError, match="no definition"):
        code_version("emergence_assets.features.rules:no_such_rule")


SYNTAX = r"""
import os.path as p
from . import sibling
@decorated(1, *a, k=2)
class A(B, metaclass=C):
    x: int = 0
    async def f(self, a, /, b: "t" = 1.5, *c, d=None, **e) -> None:
        async with a as b, c: await b
        return [i async for i in x if i > 2 if not y]
def g(*, a=...):
    global z
    text = f"{a!r:>{width}} and {b['k']:.2f}" "tail" f"" f"{c=}" f"{{{d}}}"
    text = "plain" " joined" u"u" + rb"\x" .decode()
    try: (n := 10)
    except* (ValueError, KeyError) as error: raise X from error
    else: pass
    finally: del q[1:2, ::3], r.s
    match a:
        case {"k": [1, *rest], **more} if rest: yield from rest
        case P(x=0) | None: lambda u=-1, *v: u if v else 1e100j ** 2 @ w
        case _: assert 1 < 2 <= 3, f"{x:{'a'}}"
    while True:
        for i, (j, *k) in {**a, "b": {1, 2}}.items(): continue
        else: break
    x += 1_000 // 0x10 << 2
    print(*a, sep="", **{"end": '\n'}); return (yield)
"""


def in_function(text: str) -> str:
    """Wrap the syntax into one function definition."""
    return "def everything():\n" + "".join(f"    {line}\n" if line else "\n" for line in text.strip().splitlines()[2:])


def test_other_versions_of_python_see_the_same_code(tree: Path, version: Version) -> None:
    # Equal under Python 3.11 to 3.14; hashes of `ast.dump` and `ast.unparse` differ between them.
    (tree / "features/syntax.py").write_text(in_function(SYNTAX))
    assert version("features.syntax:everything") == "2-37b612f51ede21b5"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"tail"', '"tale"'),
        ("{a!r:", "{a!s:"),
        (":.2f}", ":.3f}"),
        ("b['k']", "b['l']"),
        ("async with", "with"),
        ("d=None", "d=0"),
        ("raise X from error", "raise X"),
        ("case _:", "case other:"),
        ("1_000", "1001"),
        ("lambda u=-1", "lambda u=1"),
        ("a, /, b", "a, b"),
        (" if not y", ""),
        ("global z", "nonlocal z"),
        ("*rest", "*_"),
        ('rb"', 'r"'),
    ],
)
def test_every_kind_of_change_counts(tree: Path, version: Version, before: str, after: str) -> None:
    (tree / "features/syntax.py").write_text(in_function(SYNTAX))
    old = version("features.syntax:everything")
    replace(tree / "features/syntax.py", before, after)
    assert version("features.syntax:everything") != old


def test_hashing_the_code_of_torch_modules_imports_no_torch() -> None:
    program = (
        "import sys\n"
        "from emergence_assets.plan.code_version import code_version\n"
        "code_version('emergence_assets.saes.training.training:train_saes')\n"
        "heavy = {'torch', 'transformers', 'numpy', 'polars', 'dagster'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


# The project itself.


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project's sources."""
    for package in ("emergence_assets", "resources"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__", "*.parquet"))
    return tmp_path


def versions_of_assets(project: Path) -> dict[str, str]:
    version = functions_of(project)[0]
    return {spec.name: version(*spec.code) for spec in SPECS}


def test_every_asset_has_code_but_checkpoints_which_are_their_bytes() -> None:
    assert [spec.name for spec in SPECS if not spec.code] == ["checkpoint"]
    assert len({code_version(*spec.code) for spec in SPECS}) == len(SPECS)


def test_moving_a_function_of_the_project_makes_nothing_stale(project: Path) -> None:
    before = versions_of_assets(project)
    source = project / "emergence_assets/emergence/presence/replicates.py"
    name = "replicate_array"
    assert any(
        f"emergence_assets.emergence.presence.replicates:{name}" in reached(one) for spec in SPECS for one in spec.code
    )
    text = source.read_text()
    start = text.index(f"def {name}(")
    end = text.index("\n\n\n", start)
    elsewhere = project / "emergence_assets/emergence/time/arrays.py"
    imports = text[: text.index("\n\n\n")]
    elsewhere.write_text(
        f"{imports}\nfrom emergence_assets.emergence.presence.replicates import _list_array\n\n\n{text[start:end]}\n"
    )
    source.write_text(
        f"{text[:start]}{text[end:]}".replace(
            "import polars as pl\n",
            f"import polars as pl\nfrom emergence_assets.emergence.time.arrays import {name}\n",
            1,
        )
    )
    assert versions_of_assets(project) == before


def test_changing_a_constant_of_the_project_makes_exactly_its_dependants_stale(project: Path) -> None:
    before = versions_of_assets(project)
    replace(project / "emergence_assets/emergence/presence/replicates.py", "MARGIN = 0.05", "MARGIN = 0.06")
    after = versions_of_assets(project)
    constant = "emergence_assets.emergence.presence.replicates:MARGIN"
    expected = {spec.name for spec in SPECS if any(constant in reached(one) for one in spec.code)}
    assert {name for name in before if before[name] != after[name]} == expected
    assert {"emergence_over_time", "report"} <= expected
    assert not {"sae", "activations", "latent_stats"} & expected
