"""Storage of the model hub: repositories, branches, and commits that stay when a branch moves. No HTTP."""

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

LFS_BYTES = 10_000
"""Files of at least this size are stored apart from git, and so are weights of any size."""


@dataclass(frozen=True)
class StoredFile:
    """One published file."""

    path: str
    """Path in the repository, as the tree lists it; hostile paths are listed unchanged."""
    content: bytes

    @property
    def is_lfs(self) -> bool:
        """Whether it is stored apart from git, named by its sha256."""
        return len(self.content) >= LFS_BYTES or self.path.endswith((".safetensors", ".bin"))

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def _pointer(self) -> bytes:
        oid = f"oid sha256:{self.sha256}\nsize {len(self.content)}\n"
        return f"version https://git-lfs.github.com/spec/v1\n{oid}".encode()

    @cached_property
    def blob_id(self) -> str:
        """Git hash of the file, or of its LFS pointer."""
        stored = self._pointer if self.is_lfs else self.content
        return hashlib.sha1(b"blob %d\0" % len(stored) + stored).hexdigest()

    @property
    def etag(self) -> str:
        """ETag of the content: sha256 of a large file, git hash of a small file."""
        return self.sha256 if self.is_lfs else self.blob_id

    def tree_entry(self) -> dict[str, Any]:
        """Entry of the hub's tree listing."""
        entry: dict[str, Any] = {"type": "file", "oid": self.blob_id, "size": len(self.content), "path": self.path}
        if self.is_lfs:
            entry["lfs"] = {"oid": self.sha256, "size": len(self.content), "pointerSize": len(self._pointer)}
        return entry

    def sibling(self, with_sizes: bool) -> dict[str, Any]:
        """Entry of the hub's model info."""
        if not with_sizes:
            return {"rfilename": self.path}
        sibling = {"rfilename": self.path, "size": len(self.content), "blobId": self.blob_id}
        if self.is_lfs:
            lfs = self.tree_entry()["lfs"]
            sibling["lfs"] = {"sha256": lfs["oid"], "size": lfs["size"], "pointerSize": lfs["pointerSize"]}
        return sibling


@dataclass
class Commit:
    """The files of a repository at one commit."""

    sha: str
    files: dict[str, StoredFile]
    unlisted: set[str] = field(default_factory=set)
    """Files that no listing contains."""
    unserved: set[str] = field(default_factory=set)
    """Files that cannot be downloaded."""

    def listed(self) -> list[StoredFile]:
        """Files of a listing, in its order."""
        return [file for path, file in sorted(self.files.items()) if path not in self.unlisted]

    def served(self, path: str) -> StoredFile | None:
        """The file to download; None if there is none."""
        return None if path in self.unserved else self.files.get(path)

    def tree(self, folder: str = "", *, recursive: bool) -> list[dict[str, Any]]:
        """Entries below a folder: files and folders, or with `recursive` the entries of all levels."""
        prefix = f"{folder}/" if folder else ""
        entries: dict[str, dict[str, Any]] = {}
        for file in self.listed():
            if not file.path.startswith(prefix):
                continue
            parts = file.path.removeprefix(prefix).split("/")
            folders = [prefix + "/".join(parts[:depth]) for depth in range(1, len(parts))]
            for path in folders if recursive else folders[:1]:
                oid = hashlib.sha1(f"{self.sha} {path}".encode()).hexdigest()
                entries.setdefault(path, {"type": "directory", "oid": oid, "size": 0, "path": path})
            if recursive or not folders:
                entries[file.path] = file.tree_entry()
        return list(entries.values())


class Repository:
    """Branches and all commits."""

    def __init__(self, name: str):
        self.name = name
        self.branches: dict[str, str] = {}
        self.tags: dict[str, str] = {}
        self.commits: dict[str, Commit] = {}
        self._n_commits: dict[str, int] = {}

    def commit(self, branch: str, files: dict[str, bytes]) -> str:
        """Put a branch on a new commit with these files; return its sha, a hash of the commit and its ancestors."""
        stored = {path: StoredFile(path, content) for path, content in files.items()}
        self._n_commits[branch] = self._n_commits.get(branch, 0) + 1
        parent = self.branches.get(branch, "")
        lines = [self.name, branch, str(self._n_commits[branch]), parent]
        lines += [f"{path} {stored[path].sha256}" for path in sorted(stored)]
        sha = hashlib.sha1("\n".join(lines).encode()).hexdigest()
        self.commits[sha] = Commit(sha, stored)
        self.branches[branch] = sha
        return sha

    def resolve(self, revision: str) -> Commit | None:
        """Return the commit of a branch or a sha."""
        return self.commits.get(self.branches.get(revision, self.tags.get(revision, revision)))


def read_folder(folder: Path) -> dict[str, bytes]:
    """Read the contents of all files below a folder by relative path; names that begin with a dot are left out."""
    paths = {path.relative_to(folder): path for path in sorted(folder.rglob("*")) if path.is_file()}
    contents = {
        name.as_posix(): path.read_bytes()
        for name, path in paths.items()
        if not any(part.startswith(".") for part in name.parts)
    }
    if not contents:
        raise ValueError(f"nothing to publish in {folder}")
    return contents
