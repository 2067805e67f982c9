"""A directory and a tar archive seen alike: files by their path below a root. Nothing is ever extracted to disk."""

import io
import os
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.data.content import decompress, read_content, unreadable
from bench.data.errors import DataError

REPLACE_ARCHIVE = "replace it with an intact copy"
END_MARK = bytes(2 * tarfile.BLOCKSIZE)


class Tree(Protocol):
    """Files by their path below a root, with `/` between the parts."""

    def entries(self) -> list[str]:
        """The names of what lies directly at the root, without hidden files; a folder's name ends with `/`."""

    def below(self, folder: str) -> "Tree":
        """The tree whose root is `folder`."""

    def files(self) -> list[str]:
        """The paths of all files, sorted, without hidden ones."""

    def read(self, file: str) -> bytes:
        """A file's content."""

    def locate(self, file: str) -> str:
        """How a file is named to the user."""


@dataclass(frozen=True)
class Directory:
    """A tree on disk."""

    root: Path

    def entries(self) -> list[str]:
        return [f"{entry.name}/" if self._is_directory(entry) else entry.name for entry in self._scan()]

    def below(self, folder: str) -> "Directory":
        return Directory(self.root / folder)

    def files(self) -> list[str]:
        paths = []
        for entry in self._scan():
            if self._is_directory(entry):
                paths += [f"{entry.name}/{path}" for path in self.below(entry.name).files()]
            else:
                paths.append(entry.name)
        return paths

    def read(self, file: str) -> bytes:
        return read_content(self.root / file)

    def locate(self, file: str) -> str:
        return str(self.root / file)

    def _is_directory(self, entry: "os.DirEntry[str]") -> bool:
        try:
            return entry.is_dir()
        except OSError as error:  # a link that leads nowhere is none, but one in a circle raises
            raise unreadable(self.root / entry.name, error) from error

    def _scan(self) -> "list[os.DirEntry[str]]":
        try:
            with os.scandir(self.root) as entries:
                return sorted((entry for entry in entries if not _is_hidden(entry.name)), key=lambda entry: entry.name)
        except OSError as error:
            raise unreadable(self.root, error) from error


@dataclass(frozen=True)
class Archive:
    """A tree in a tar archive, which is held in memory."""

    path: Path
    members: Mapping[str, bytes]
    root: str = ""

    def entries(self) -> list[str]:
        return sorted({"".join(path.partition("/")[:2]) for path in self.files()})

    def below(self, folder: str) -> "Archive":
        return Archive(self.path, self.members, f"{self.root}{folder}/")

    def files(self) -> list[str]:
        return sorted(path.removeprefix(self.root) for path in self.members if path.startswith(self.root))

    def read(self, file: str) -> bytes:
        return self.members[f"{self.root}{file}"]

    def locate(self, file: str) -> str:
        return f"{self.path}: {self.root}{file}"


def open_archive(path: Path, content: bytes) -> Archive:
    """The tree in `content`, a tar archive, compressed with gzip or not, that was read from `path`.

    Raises:
        DataError: it is truncated, corrupt or no archive, or has members that are no files or lead out of it.
    """
    try:
        uncompressed = decompress(content)
    except DataError as error:
        raise DataError(f"{path}: {error}; {REPLACE_ARCHIVE}") from error
    members = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(uncompressed), mode="r:") as archive:
            for member in archive:
                _check_member(path, member)
                file = archive.extractfile(member)
                if file and not any(_is_hidden(part) for part in member.name.removeprefix("./").split("/")):
                    members[member.name.removeprefix("./")] = file.read()
    except tarfile.TarError as error:
        raise DataError(f"{path}: no intact tar archive ({error}); {REPLACE_ARCHIVE}") from error
    if not uncompressed.endswith(END_MARK):  # tarfile takes an archive cut within a header for a whole one
        raise DataError(f"{path}: truncated: no end mark after {len(members)} files; {REPLACE_ARCHIVE}")
    return Archive(path, members)


def _check_member(path: Path, member: tarfile.TarInfo) -> None:
    if member.name.startswith("/") or ".." in member.name.split("/"):
        raise DataError(f"{path}: its member {member.name!r} leads out of the archive; {REPLACE_ARCHIVE}")
    if not (member.isreg() or member.isdir()):
        raise DataError(f"{path}: its member {member.name!r} is neither a file nor a directory; {REPLACE_ARCHIVE}")


def _is_hidden(name: str) -> bool:
    """`.DS_Store`, `._0001.png` and their like, which systems leave behind."""
    return name.startswith(".") and name != "."
