"""What results are made from: fingerprints, the record inside a result, and the hash of the science behind it."""

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import emergence_assets.provenance
from emergence_assets.errors import EmergenceError
from emergence_assets.provenance import Provenance, Required, canonical_json, code_version, difference

TEXT = st.text(max_size=8)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
MAPPINGS = st.dictionaries(TEXT, PLAIN, max_size=4)
REQUIRED = st.builds(Required, TEXT, TEXT, MAPPINGS, st.dictionaries(TEXT, TEXT, max_size=3), TEXT)

REFERENCE = Required("sae", "m/step000008/L01", {"k": 16, "seeds": [0]}, {"activations m/step000008/L01": "ab"}, "c0de")


@given(REQUIRED, MAPPINGS, MAPPINGS, TEXT)
def test_a_record_is_read_as_it_was_written(
    required: Required, summary: dict[str, Any], environment: dict[str, Any], created: str
) -> None:
    record = Provenance(required, summary, environment, created)
    assert Provenance.from_json(record.to_json(), "here") == record
    assert Provenance.from_json(record.to_json(), "here").to_json() == record.to_json()


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("asset", "activations"),
        ("cell", "m/step000008/L02"),
        ("recipe", {"k": 17, "seeds": [0]}),
        ("recipe", {"k": 16.0, "seeds": [0]}),
        ("recipe", [["k", 16], ["seeds", [0]]]),
        ("inputs", {}),
        ("inputs", [["activations m/step000008/L01", "ab"]]),
        ("code_version", "c0df"),
        ("fingerprint", "0" * 32),
        ("fingerprint", None),
        ("summary", []),
        ("summary", "text"),
        ("environment", None),
    ],
)
def test_an_altered_record_is_refused(part: str, value: object) -> None:
    record = json.loads(Provenance(REFERENCE, {"fvu": 0.1}).to_json())
    with pytest.raises(EmergenceError) as caught:
        Provenance.from_json(json.dumps(record | {part: value}), "sae/provenance.json")
    assert caught.value.where == "sae/provenance.json"
    assert "delete it" in caught.value.remedy


@pytest.mark.parametrize(
    "part", ["asset", "cell", "recipe", "inputs", "code_version", "fingerprint", "summary", "environment", "created"]
)
def test_a_record_that_lacks_a_part_is_refused(part: str) -> None:
    record = json.loads(Provenance(REFERENCE).to_json())
    del record[part]
    with pytest.raises(EmergenceError, match="cannot be read"):
        Provenance.from_json(json.dumps(record), "here")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "7", '"x"', "[" * 100_000, '{"recipe": NaN}', "\x00"])
def test_what_is_no_record_is_refused(text: str) -> None:
    with pytest.raises(EmergenceError, match="cannot be read"):
        Provenance.from_json(text, "here")


@given(st.data())
def test_a_record_cut_short_is_refused(data: st.DataObject) -> None:
    text = Provenance(REFERENCE, {"fvu": 0.1}).to_json()
    with pytest.raises(EmergenceError):
        Provenance.from_json(text[: data.draw(st.integers(0, len(text) - 1))], "here")


def test_not_a_number_is_not_recorded() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        Provenance(REFERENCE, {"fvu": float("nan")}).to_json()


@given(MAPPINGS, st.randoms())
def test_the_order_of_keys_does_not_count(recipe: dict[str, Any], random: Any) -> None:
    keys = list(recipe)
    random.shuffle(keys)
    shuffled = {key: recipe[key] for key in keys}
    assert canonical_json(shuffled) == canonical_json(recipe)
    assert Required("a", "c", shuffled, {}, "v").fingerprint == Required("a", "c", recipe, {}, "v").fingerprint


@given(REQUIRED, REQUIRED)
def test_there_is_a_difference_exactly_when_fingerprints_differ(stored: Required, required: Required) -> None:
    assert (difference(stored, required) == "") == (stored.fingerprint == required.fingerprint)
    assert difference(required, required) == ""


@given(MAPPINGS, MAPPINGS)
def test_recipes_differ_exactly_when_fingerprints_do(stored: dict[str, Any], required: dict[str, Any]) -> None:
    left, right = Required("a", "c", stored, {}, "v"), Required("a", "c", required, {}, "v")
    assert (difference(left, right) == "") == (left.fingerprint == right.fingerprint)


@pytest.mark.parametrize(
    ("stored", "required"), [({"k": 1}, {"k": 1.0}), ({"k": 1}, {"k": True}), ({"k": None}, {}), ({}, {"k": None})]
)
def test_values_that_only_python_holds_equal_are_a_difference(stored: dict[str, Any], required: dict[str, Any]) -> None:
    assert "k was" in difference(Required("a", "c", stored, {}, "v"), Required("a", "c", required, {}, "v"))


def test_a_difference_says_what_changed() -> None:
    def changed(**parts: Any) -> str:
        return difference(REFERENCE, Required(**(vars(REFERENCE) | parts)))

    assert changed(recipe={"k": 32, "seeds": [0]}) == "k was 16, is 32"
    assert changed(inputs={"activations m/step000008/L01": "cd"}) == "input activations m/step000008/L01 changed"
    assert changed(inputs={"x": "1", "y": "2"}) == "input activations m/step000008/L01 and 2 more changed"
    assert changed(code_version="0000") == "the code changed"
    assert changed(cell="m/step000008/L02") == "it is sae of m/step000008/L01"
    both = changed(recipe={"k": 32, "seeds": [1]}, code_version="0000")
    assert both == "k was 16, is 32; seeds was [0], is [1]; the code changed"


# The hash of the code, on a tree of modules that may be changed.

MODULES = {
    "features/rules.py": '"""Doc."""\nLIFT = 2.0\n\n\ndef lift(x):\n    """Doc."""\n    return x * LIFT\n',
    "features/cell.py": (
        '"""Doc."""\nfrom emergence_assets.features.rules import lift\n\n\ndef stats(x):\n    return lift(x)\n'
    ),
    "features/labels.py": "LEVELS = 3\n",
    "features/cells.py": "PATHS = 1\n",
    "saes/sae.py": "from emergence_assets.features import labels\n",
    "features/tables.py": 'COUNTS = Table("counts", "One row.", (Column("n", Int32, "texts", "texts", 0),), ("n",))\n',
    "saes/lazy.py": "def late():\n    import emergence_assets.features.rules\n    return emergence_assets\n",
    "saes/loop.py": "import emergence_assets.saes.pool\n",
    "saes/pool.py": "import emergence_assets.saes.loop\n",
    "saes/mover.py": "from emergence_assets.features.cells import PATHS\nfrom emergence_assets.study import Study\n",
    "study.py": "class Study: pass\n",
}
Version = Callable[..., str]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    package = tmp_path / "emergence_assets"
    for name, text in MODULES.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    shutil.copy(emergence_assets.provenance.__file__, package)
    return package


@pytest.fixture
def version(tree: Path) -> Version:
    """`code_version` of the tree as it is now; modules are named without the package."""

    def of_now(*modules: str) -> str:
        # Loaded anew every time, because a process reads every module once.
        spec = importlib.util.spec_from_file_location("provenance_of_a_tree", tree / "provenance.py")
        assert spec is not None
        assert spec.loader is not None
        fresh = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(fresh)
        return fresh.code_version(*(f"emergence_assets.{module}" for module in modules))

    return of_now


def replace(path: Path, before: str, after: str) -> None:
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after))


def test_comments_docstrings_and_layout_do_not_count(tree: Path, version: Version) -> None:
    before = version("features.cell")
    replace(tree / "features/rules.py", '"""Doc."""\nLIFT', '"""Other."""\n# why\nLIFT')
    replace(
        tree / "features/rules.py", '    """Doc."""\n    return x * LIFT', "    return (\n        x * LIFT  # so\n    )"
    )
    replace(tree / "features/cell.py", '"""Doc."""\n', "")
    assert version("features.cell") == before


def test_what_a_column_means_is_documentation_and_what_it_holds_is_not(tree: Path, version: Version) -> None:
    old = version("features.tables")
    replace(tree / "features/tables.py", '"One row."', '"One row per cell."')
    replace(tree / "features/tables.py", 'Int32, "texts"', 'Int32, "texts with a label"')
    assert version("features.tables") == old
    replace(tree / "features/tables.py", "Int32", "Int64")
    assert version("features.tables") != old


@pytest.mark.parametrize(
    ("before", "after"), [("LIFT = 2.0", "LIFT = 2.5"), ("x * LIFT", "x + LIFT"), ("def lift(x)", "def lift(x, y=1)")]
)
def test_changed_code_counts(tree: Path, version: Version, before: str, after: str) -> None:
    old = version("features.rules")
    replace(tree / "features/rules.py", before, after)
    assert version("features.rules") != old


@pytest.mark.parametrize("module", ["features.cell", "saes.lazy"])
def test_a_change_in_an_imported_science_module_counts(tree: Path, version: Version, module: str) -> None:
    old = version(module)
    replace(tree / "features/rules.py", "2.0", "3.0")
    assert version(module) != old


def test_a_module_imported_from_its_package_is_followed(tree: Path, version: Version) -> None:
    old = version("saes.sae")
    replace(tree / "features/labels.py", "3", "4")
    assert version("saes.sae") != old


def test_a_change_elsewhere_does_not_count(tree: Path, version: Version) -> None:
    old = version("features.cell")
    replace(tree / "features/labels.py", "3", "4")
    assert version("features.cell") == old


def test_modules_that_only_move_results_do_not_count(tree: Path, version: Version) -> None:
    old = version("saes.mover")
    replace(tree / "features/cells.py", "1", "2")
    replace(tree / "study.py", "pass", "x = 1")
    assert version("saes.mover") == old


def test_modules_that_import_each_other_have_a_version(version: Version) -> None:
    assert version("saes.loop") == version("saes.pool") == version("saes.pool", "saes.loop")


def test_the_order_in_which_modules_are_named_does_not_count(version: Version) -> None:
    assert version("saes.sae", "features.cell") == version("features.cell", "saes.sae") != version("features.cell")


def test_a_changed_name_of_a_module_counts(tree: Path, version: Version) -> None:
    old = version("features.labels")
    (tree / "features/labels.py").rename(tree / "features/names.py")
    assert version("features.names") != old


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


def test_other_versions_of_python_see_the_same_code(tree: Path, version: Version) -> None:
    # The same number under Python 3.11, 3.12 and 3.13; hashes of `ast.dump` and `ast.unparse` differ between them.
    (tree / "features/syntax.py").write_text(SYNTAX)
    assert version("features.syntax") == "bda3e61a0165f09b"


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
    (tree / "features/syntax.py").write_text(SYNTAX)
    old = version("features.syntax")
    replace(tree / "features/syntax.py", before, after)
    assert version("features.syntax") != old


def test_hashing_the_code_of_torch_modules_imports_no_torch() -> None:
    program = (
        "import sys\n"
        "from emergence_assets.provenance import code_version\n"
        "code_version('emergence_assets.saes.training', 'emergence_assets.activations.capture')\n"
        "heavy = {'torch', 'transformers', 'numpy', 'polars', 'dagster'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parent.parent)


def test_the_same_code_has_the_same_version_in_another_process() -> None:
    module = "emergence_assets.features.cell"
    program = f"from emergence_assets.provenance import code_version; print(code_version({module!r}), end='')"
    other = subprocess.run(
        [sys.executable, "-c", program], check=True, cwd=Path(__file__).parent.parent, capture_output=True, text=True
    )
    assert other.stdout == code_version(module)
