"""Plain YAML documents are read as written; anything else is refused with file and line."""

import contextlib
import re
import string
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from resources.errors import EmergenceError
from resources.files.plain_yaml import MAX_BYTES, MAX_DEPTH, MAX_DIGITS, MAX_VALUES, read_yaml

NAMES = st.text(string.ascii_letters + string.digits + "-_. é\n", min_size=1, max_size=12)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | NAMES
DOCUMENTS = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner), max_leaves=12)


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "study.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@given(document=DOCUMENTS)
@example(document={"0E0": None})
def test_plain_documents_are_read_as_written(tmp_path_factory: pytest.TempPathFactory, document: object) -> None:
    class NoAliases(yaml.SafeDumper):
        def ignore_aliases(self, data: object) -> bool:
            return True

        def represent_text(self, text: str) -> yaml.Node:
            # YAML 1.1, which this writes, takes 1e3 for text; what is read as a number has to be quoted.
            is_number = re.fullmatch(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+", text)
            return self.represent_scalar("tag:yaml.org,2002:str", text, style='"' if is_number else None)

    NoAliases.add_representer(str, NoAliases.represent_text)
    path = write(tmp_path_factory.getbasetemp(), yaml.dump(document, Dumper=NoAliases, allow_unicode=True))
    assert read_yaml(path) == document


BOMB = "a: &a [x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 9)}]\n" for i in range(9)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, "aliases are not allowed"),
        ("name: quick\nsteps: [0]\nname: other\n", "key 'name' is repeated"),
        ("sae:\n  k: 1\n  k: 2\n", "line 3"),
        ("name: [0, 1\n", "line 2"),
        ("name: 'open\n", "line 2"),
        ("\tname: x\n", "line 1"),
        ("a: 1\n---\nb: 2\n", "another document"),
        ("a: !!python/object/apply:os.system ['true']\n", "not allowed"),
        ("a: !!set {b}\n", "not allowed"),
        ("a: !!bool perhaps\n", "not allowed"),
        ("a: !!timestamp soon\n", "not allowed"),
        ("<<: {a: 1}\n", "merge"),
        ("? [a, b]\n: c\n", "a key is not plain text"),
        ("day: 2024-13-45\n", "month must be in 1..12"),
        pytest.param("a: x\nb: " + "1" * 5000, f"more than {MAX_DIGITS} digits", id="digits"),
        pytest.param("a: 0x" + "f" * 100_000, f"more than {MAX_DIGITS} digits", id="digits-base-16"),
        pytest.param("a: 1" + ":59" * 300_000, f"more than {MAX_DIGITS} digits", id="digits-base-60"),
        pytest.param("a: 1" + ":59" * 300_000 + ".5", f"more than {MAX_DIGITS} digits", id="digits-base-60-float"),
        pytest.param("a: 2001-01-01 01:01:01." + "1" * 5000, f"more than {MAX_DIGITS} digits", id="digits-time"),
        pytest.param("a: 1" + ":1" * 190 + ".5", "too large", id="float-overflow"),
        pytest.param("a: [" + "1," * MAX_VALUES + "]", f"more than {MAX_VALUES} keys and values", id="many-values"),
        pytest.param("".join(f"k{i}: 1\n" for i in range(MAX_VALUES)), f"than {MAX_VALUES} keys", id="many-keys"),
        ("a: \x01\n", "special characters"),
        pytest.param("[" * 5000, "nested too deep", id="deep-lists"),
        pytest.param("{a: " * 5000, "nested too deep", id="deep-mappings"),
        pytest.param("[" * (MAX_DEPTH + 2) + "]" * (MAX_DEPTH + 2), "nested too deep", id="deep-by-one"),
        (b"name: \xff\xfe\xfa\n", "cannot be read"),
        (b"\x00" * 100, "not plain YAML"),
        (b"PAR1" + bytes(range(256)), "cannot be read"),
        pytest.param("#" * (MAX_BYTES + 1), f"larger than {MAX_BYTES} bytes", id="large"),
    ],
)
def test_a_file_that_is_not_plain_yaml_is_refused_by_name(tmp_path: Path, text: str | bytes, said: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(EmergenceError) as caught:
        read_yaml(path)
    assert said in caught.value.what
    assert caught.value.where == str(path)
    assert caught.value.remedy


@given(content=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    with contextlib.suppress(EmergenceError):
        read_yaml(write(tmp_path_factory.getbasetemp(), content))


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.yaml", tmp_path):
        with pytest.raises(EmergenceError, match="cannot be read"):
            read_yaml(path)
