"""What a checkpoint folder from outside must not contain is refused, with its name, before anything in it is opened."""

import json
import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emergence_assets.checkpoints.sources import safety
from emergence_assets.checkpoints.sources.safety import refuse_unsafe
from resources.errors import BrokenCheckpoint
from resources.hub.pinned_file import refuse_unsafe_name


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """`root/step8/` with two files, and `outside` beside the root."""
    folder = tmp_path / "root" / "step8"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "config.json").write_text("{}")
    return tmp_path / "root"


@given(st.text())
def test_an_accepted_name_is_one_file_in_its_own_folder(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    folder = tmp_path_factory.getbasetemp()
    try:
        refuse_unsafe_name(name)
    except BrokenCheckpoint:
        return
    assert (folder / name).resolve().parent == folder.resolve()
    assert name.isascii()
    assert not name.startswith(".")


@pytest.mark.parametrize(
    "name",
    ["model.safetensors", "model-00001-of-00002.safetensors", "config.json", "modeling_x.py", "_a", "a+b", "n" * 200],
)
def test_names_of_published_files_are_accepted(name: str) -> None:
    refuse_unsafe_name(name)


@pytest.mark.parametrize(
    "name", ["../a", "a/b", "/a", "a\\b", ".a", "..", "", "-a", "a\n", "a\0", "n" * 201, "ä", "\uff11"]
)
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(BrokenCheckpoint, match="unsafe file name"):
        refuse_unsafe_name(name, "someone/gloss-tiny")


def test_a_folder_of_plain_files_and_folders_is_accepted(root: Path) -> None:
    (root / "step8" / "logs").mkdir()
    refuse_unsafe(root / "step8", trusted=False)
    refuse_unsafe(root / "step8", trusted=False, root=root)


def test_a_link_inside_the_root_is_accepted_and_one_out_of_it_refused(root: Path) -> None:
    (root / "blobs").mkdir()
    (root / "blobs" / "x").write_bytes(b"weights")
    link = root / "step8" / "shared.safetensors"
    link.symlink_to(root / "blobs" / "x")
    refuse_unsafe(root / "step8", trusted=False, root=root)
    with pytest.raises(BrokenCheckpoint, match=r"shared\.safetensors is a link to .*blobs/x"):
        refuse_unsafe(root / "step8", trusted=False)


@pytest.mark.parametrize(
    "target", ["../../outside/config.json", "/etc/passwd", "../../outside/not-there-yet", "/dev/zero"]
)
def test_links_out_of_the_root_are_refused_by_name(root: Path, target: str) -> None:
    (root / "step8" / "config.json").unlink()
    (root / "step8" / "config.json").symlink_to(target)
    with pytest.raises(BrokenCheckpoint, match=r"config\.json is a link") as caught:
        refuse_unsafe(root / "step8", trusted=True, root=root)
    assert caught.value.where == str(root / "step8" / "config.json")
    assert caught.value.remedy


def test_a_link_over_another_link_out_of_the_root_is_refused(root: Path) -> None:
    (root / "away").symlink_to(root.parent / "outside")
    (root / "step8" / "more.json").symlink_to(root / "away" / "config.json")
    with pytest.raises(BrokenCheckpoint, match=r"more\.json is a link"):
        refuse_unsafe(root / "step8", trusted=False, root=root)


def test_a_folder_that_is_a_link_out_of_the_root_is_refused(root: Path) -> None:
    (root / "step9").symlink_to(root.parent / "outside")
    (root / "model").symlink_to(root.parent / "outside")
    (root.parent / "outside" / "step8").mkdir()
    for folder in (root / "step9", root / "model" / "step8"):
        with pytest.raises(BrokenCheckpoint, match="is a link to"):
            refuse_unsafe(folder, trusted=False, root=root)
    (root / "step10").symlink_to(root / "step8")
    refuse_unsafe(root / "step10", trusted=False, root=root)


def test_the_root_itself_may_be_a_link(root: Path) -> None:
    (root.parent / "family").symlink_to(root)
    refuse_unsafe(root.parent / "family" / "step8", trusted=False, root=root.parent / "family")


def test_a_link_to_nothing_is_left_to_those_who_need_the_file(root: Path) -> None:
    (root / "step8" / ".#config.json").symlink_to("someone@somewhere.1234")  # an editor's note that a file is open
    refuse_unsafe(root / "step8", trusted=False, root=root)


def test_links_in_a_circle_are_refused(root: Path) -> None:
    (root / "step8" / "a").symlink_to(root / "step8" / "b")
    (root / "step8" / "b").symlink_to(root / "step8" / "a")
    with pytest.raises(BrokenCheckpoint, match="cannot be followed"):
        refuse_unsafe(root / "step8", trusted=False, root=root)


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_what_is_no_file_is_refused_and_not_opened(root: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root / "step8")  # names of sockets are short
    Path("config.json").unlink()
    if kind == "pipe":
        os.mkfifo("config.json")  # whoever opens it waits for ever
    else:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind("config.json")
    with pytest.raises(BrokenCheckpoint, match=r"config\.json is not a file"):
        refuse_unsafe(root / "step8", trusted=False)


@pytest.mark.parametrize("asks", [{"auto_map": {"AutoConfig": "x.Y"}}, {"custom_pipelines": {"a": {"impl": "x.Y"}}}])
def test_a_config_that_asks_for_code_is_refused_unless_it_is_trusted(root: Path, asks: dict[str, object]) -> None:
    (root / "step8" / "config.json").write_text(json.dumps(asks))
    with pytest.raises(BrokenCheckpoint, match="requires running Python code") as caught:
        refuse_unsafe(root / "step8", trusted=False)
    assert "trust_remote_code" in caught.value.remedy
    refuse_unsafe(root / "step8", trusted=True)


@pytest.mark.parametrize("content", ["{", "[]", "3", "[" * 100_000, '{"auto_map": {}}', '{"auto_map": null}', None])
def test_a_config_that_asks_for_no_code_is_left_to_those_who_read_it(root: Path, content: str | None) -> None:
    config = root / "step8" / "config.json"
    config.unlink() if content is None else config.write_text(content)
    refuse_unsafe(root / "step8", trusted=False)


def test_a_huge_config_is_refused_unread(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safety, "MAX_CONFIG_BYTES", 1000)
    (root / "step8" / "config.json").write_text(json.dumps({"auto_map": None, "filling": "x" * 1000}))
    with pytest.raises(BrokenCheckpoint, match="larger than 1000 bytes"):
        refuse_unsafe(root / "step8", trusted=False)
