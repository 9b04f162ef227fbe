"""Pinned files of a revision: one weight format and its companion files; the listing of a hub is not trusted."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from emergence_assets.checkpoints.sources.hub import HubSource
from emergence_assets.checkpoints.sources.lock_file import Pin, read_lock
from resources.errors import SourceUnreachable
from tests.checkpoints.sources.hub_family import MODEL, REPOSITORY, make_source, publish, ref_of
from tests.family import as_pickle, shard, step_folder
from tests.hub.repositories import StoredFile
from tests.hub.server import HubServer

ALWAYS = ["config.json", "tokenizer.json", "tokenizer_config.json"]
ONE, TWO, THREE = (f"model-0000{n}-of-00003.safetensors" for n in (1, 2, 3))
INDEX = "model.safetensors.index.json"


def pin_of(source: HubSource, step: int = 8) -> Pin:
    return next(pin for pin in read_lock(source.lock).pins(MODEL, REPOSITORY) if pin.step == step)


def pinned(hub: HubServer, family: Path, tmp_path: Path) -> Pin:
    """Return the pin of step 8 of a family."""
    publish(hub, family, 0, 8)
    source = make_source(hub, tmp_path)
    source.refresh()
    return pin_of(source)


def names(pin: Pin) -> tuple[list[str], list[str]]:
    return [file.name for file in pin.weights], [file.name for file in pin.others]


def test_one_file_goes_before_parts(hub: HubServer, family: Path, family_copy: Path, tmp_path: Path) -> None:
    folder = shard(family_copy, MODEL, 8)
    shutil.copyfile(step_folder(family, MODEL, 8) / "model.safetensors", folder / "model.safetensors")
    assert names(pinned(hub, family_copy, tmp_path)) == (["model.safetensors"], ALWAYS)


@pytest.mark.parametrize("n", [1, 3])
def test_safetensors_go_before_pickles(hub: HubServer, family: Path, family_copy: Path, tmp_path: Path, n: int) -> None:
    folder = as_pickle(family_copy, MODEL, 8, 2)
    if n == 1:
        shutil.copyfile(step_folder(family, MODEL, 8) / "model.safetensors", folder / "model.safetensors")
        assert names(pinned(hub, family_copy, tmp_path)) == (["model.safetensors"], ALWAYS)
    else:
        parts = shard(shutil.copytree(family, tmp_path / "parts"), MODEL, 8, n)
        for path in parts.glob("model*"):
            shutil.copyfile(path, folder / path.name)
        assert names(pinned(hub, family_copy, tmp_path)) == ([ONE, TWO, THREE], [*ALWAYS, INDEX])


@pytest.mark.parametrize("n", [1, 2])
def test_pickles_are_taken_where_there_is_nothing_else(
    hub: HubServer, family_copy: Path, tmp_path: Path, n: int
) -> None:
    as_pickle(family_copy, MODEL, 8, n)
    weights, others = names(pinned(hub, family_copy, tmp_path))
    assert len(weights) == n
    assert all(name.endswith(".bin") for name in weights)
    assert others == ALWAYS + ["pytorch_model.bin.index.json"] * (n > 1)


def test_a_missing_part_is_the_problem_of_the_pin(hub: HubServer, family_copy: Path, tmp_path: Path) -> None:
    folder = shard(family_copy, MODEL, 8, 3)
    (folder / TWO).unlink()
    assert pinned(hub, family_copy, tmp_path).problem == "part 2 of 3 of model.safetensors is missing"


def test_without_their_index_parts_are_no_weights(hub: HubServer, family_copy: Path, tmp_path: Path) -> None:
    (shard(family_copy, MODEL, 8) / INDEX).unlink()
    assert "model.safetensors is missing" in pinned(hub, family_copy, tmp_path).problem


def test_whole_pickles_stand_in_for_parts_that_are_not_whole(
    hub: HubServer, family: Path, family_copy: Path, tmp_path: Path
) -> None:
    folder = shard(family_copy, MODEL, 8, 3)
    (folder / TWO).unlink()
    pickled = as_pickle(shutil.copytree(family, tmp_path / "pickled"), MODEL, 8) / "pytorch_model.bin"
    shutil.copyfile(pickled, folder / "pytorch_model.bin")
    assert names(pinned(hub, family_copy, tmp_path)) == (["pytorch_model.bin"], ALWAYS)


def test_parts_left_over_from_another_splitting_are_not_taken(
    hub: HubServer, family_copy: Path, tmp_path: Path
) -> None:
    folder = shard(family_copy, MODEL, 8, 3)
    (folder / "model-00001-of-00007.safetensors").write_bytes(b"left over")
    assert names(pinned(hub, family_copy, tmp_path))[0] == [ONE, TWO, THREE]


@dataclass(frozen=True)
class LyingFile(StoredFile):
    """A file that a hub lists with wrong values."""

    lies: dict[str, Any] = field(default_factory=dict)

    def tree_entry(self) -> dict[str, Any]:
        return super().tree_entry() | self.lies


def lie(hub: HubServer, name: str, **lies: Any) -> None:
    """Let the hub list a file of step 8 with other values."""
    files = hub.repositories[REPOSITORY].commits[hub.branches(REPOSITORY)["step8"]].files
    files[name] = LyingFile(name, files[name].content if name in files else b"x", lies)


@pytest.mark.parametrize(
    ("name", "lies", "said"),
    [
        ("model.safetensors", {"size": -1}, "not a size"),
        ("model.safetensors", {"size": 10**400}, "not a size"),
        ("model.safetensors", {"size": "12"}, "not a size"),
        ("model.safetensors", {"size": None}, "not a size"),
        ("model.safetensors", {"size": True}, "not a size"),
        ("model.safetensors", {"lfs": {"oid": "b" * 63, "size": 3, "pointerSize": 3}}, "no hash of model.safetensors"),
        ("model.safetensors", {"lfs": {"oid": 3, "size": 3, "pointerSize": 3}}, "no hash of model.safetensors"),
        ("config.json", {"oid": ""}, "no hash of config.json"),
        ("config.json", {"oid": None}, "no hash of config.json"),
        ("config.json", {"oid": "../.."}, "no hash of config.json"),
        ("x.py", {"path": "../../x.py"}, "unsafe file name '../../x.py'"),
        ("x", {"path": "/etc/passwd"}, "unsafe file name '/etc/passwd'"),
        ("x", {"path": "a/model.safetensors"}, "unsafe file name"),
    ],
)
def test_an_odd_listing_is_the_problem_of_its_revision_alone(
    hub: HubServer, family: Path, tmp_path: Path, name: str, lies: dict[str, Any], said: str
) -> None:
    publish(hub, family, 0, 8)
    lie(hub, name, **lies)
    source = make_source(hub, tmp_path)
    source.refresh()
    assert said in source.list(MODEL).incomplete[8]
    assert [ref.step for ref in source.list(MODEL).checkpoints] == [0]  # and the lock can be read


@pytest.mark.parametrize("name", ["evil name.py", "-x.py", ".x.py", "x-y.py", "a" * 5000])
def test_files_that_nobody_needs_may_be_called_anything(
    hub: HubServer, family: Path, tmp_path: Path, name: str
) -> None:
    publish(hub, family, 8)
    lie(hub, name)
    source = make_source(hub, tmp_path, trust_remote_code=[MODEL])
    source.refresh()
    assert ref_of(source, 8)
    assert names(pin_of(source)) == (["model.safetensors"], ALWAYS)


@pytest.mark.parametrize("sha", ["main", "", "a" * 39, "../../x", None, 3])
def test_a_branch_at_no_commit_pins_nothing(hub: HubServer, family: Path, tmp_path: Path, sha: Any) -> None:
    publish(hub, family, 0, 8)
    source = make_source(hub, tmp_path)
    source.refresh()
    before = source.lock.read_bytes()
    hub.repositories[REPOSITORY].branches["step64"] = sha
    with pytest.raises(SourceUnreachable, match="'step64' has no commit"):
        source.refresh()
    assert source.lock.read_bytes() == before
