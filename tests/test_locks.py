"""Everything that is installed is locked by version and hash; torch and what its builds bring are the one exception."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from scripts.write_locks import ENCODER, EXCEPTIONS, LOCKS, PEERS_ALONE, PRETRAINED, ROOT, declared, entries

NAMES = ("build", "main", "peers", "encoder", "pretrained")
WANTED = declared() | {"encoder": ENCODER, "pretrained": PRETRAINED}
WANTED["peers"] = [*WANTED["peers"], *PEERS_ALONE]


def pins(name: str) -> dict[str, set[Version]]:
    """Return the locked versions by package; a package may have one for each range of Python versions."""
    found: dict[str, set[Version]] = {}
    for entry in entries((LOCKS / f"{name}.txt").read_text("utf-8")):
        pinned = Requirement(entry)
        (specifier,) = pinned.specifier
        assert specifier.operator == "=="
        found.setdefault(canonicalize_name(pinned.name), set()).add(Version(specifier.version))
    return found


@pytest.mark.parametrize("name", NAMES)
def test_every_entry_has_hashes_of_its_files(name: str) -> None:
    locked = entries((LOCKS / f"{name}.txt").read_text("utf-8"))
    assert locked
    for entry, lines in locked.items():
        hashes = [line.removesuffix(" \\").strip() for line in lines[1:]]
        assert hashes, entry
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", one) for one in hashes), entry


@pytest.mark.parametrize("name", NAMES)
def test_everything_that_is_declared_is_locked_in_a_version_that_fits(name: str) -> None:
    locked = pins(name)
    for text in WANTED[name]:
        wanted = Requirement(text)
        if EXCEPTIONS.match(wanted.name):
            assert [one.operator for one in wanted.specifier] == ["=="], "what is not locked is pinned"
            assert canonicalize_name(wanted.name) not in locked
            continue
        versions = locked[canonicalize_name(wanted.name)]
        assert all(wanted.specifier.contains(version) for version in versions), text


def test_nothing_is_installed_but_by_hash() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert "LOCKED := --require-hashes --no-deps --no-build-isolation --requirement" in makefile
    commands = re.findall(r"^\t\S*\$\(PIP\) (.*)$", makefile, re.MULTILINE)
    others = [one for one in commands if not re.fullmatch(r"\$\(LOCKED\) locks/(\w+)\.txt", one)]
    assert others == ["torch==2.13.0", "--no-deps --no-build-isolation --editable .", "$$(grep '^torch==' peers.txt)"]
    assert makefile.count("pip ") == makefile.count("-m pip ") == 1
    named = {one.rpartition("/")[2] for one in commands if one not in others}
    assert named == {f"{name}.txt" for name in NAMES}


@pytest.mark.parametrize("is_right", [True, False], ids=["right", "wrong"])
def test_pip_refuses_a_file_with_another_hash(tmp_path: Path, is_right: bool) -> None:
    """As the Makefile calls pip, with a package that is made here."""
    from hashlib import sha256
    from zipfile import ZipFile

    wheel = tmp_path / "tiny_package-1.0-py3-none-any.whl"
    with ZipFile(wheel, "w") as archive:
        archive.writestr("tiny_package.py", "")
        about = "tiny_package-1.0.dist-info"
        archive.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: tiny-package\nVersion: 1.0\n")
        archive.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{about}/RECORD", "")
    digest = sha256(wheel.read_bytes()).hexdigest() if is_right else "0" * 64
    (tmp_path / "lock.txt").write_text(f"tiny-package==1.0 \\\n    --hash=sha256:{digest}\n")
    options = re.search(r"^LOCKED := (.*)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert options
    command = [sys.executable, "-m", "pip", "install", "--no-index", "--find-links", str(tmp_path)]
    command += ["--target", str(tmp_path / "there"), *options[1].split(), str(tmp_path / "lock.txt")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode == 0) == is_right, ended.stderr
    assert (tmp_path / "there" / "tiny_package.py").exists() == is_right
    assert is_right or "HASHES" in ended.stderr
