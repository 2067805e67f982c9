"""Files are written at once, and only where a file may be."""

import os
from pathlib import Path

import pytest

from sparbor.errors import OutputError
from sparbor.files import write_file, write_files


def test_a_new_file_has_the_usual_mode_and_nothing_stays_beside_it(tmp_path: Path) -> None:
    (tmp_path / "usual").write_bytes(b"")
    write_file(tmp_path / "x", b"content")
    assert (tmp_path / "x").read_bytes() == b"content"
    assert (tmp_path / "x").stat().st_mode == (tmp_path / "usual").stat().st_mode
    assert sorted(path.name for path in tmp_path.iterdir()) == ["usual", "x"]


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"older")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    write_file(tmp_path / "link", b"newer")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_bytes() == b"newer"


@pytest.mark.parametrize("path", ["", ".", "{tmp}", "{tmp}/pipe"])
def test_what_is_no_file_is_left_alone(path: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(
        OutputError,
        match=r"could not be written \(it is there and is not a regular file\)",
    ):
        write_file(Path(path.format(tmp=tmp_path)), b"content")
    assert [entry.name for entry in tmp_path.iterdir()] == ["pipe"]


@pytest.mark.parametrize("path", ["absent/x", "file/x"])
def test_a_path_that_cannot_be_written(path: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"older")
    with pytest.raises(OutputError, match=r"could not be written \(.*\): make room or choose another path"):
        write_file(tmp_path / path, b"content")
    assert (tmp_path / "file").read_bytes() == b"older"


def test_a_full_disk_leaves_the_older_file(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    (tmp_path / "x").write_bytes(b"older")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OutputError, match=r"File too large"):
            write_file(tmp_path / "x", bytes(10_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / "x").read_bytes() == b"older"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]


def test_several_files_come_together(tmp_path: Path) -> None:
    write_files(tmp_path / "a" / "b", {"x": b"1", "y": b"2"})
    write_files(tmp_path / "a" / "b", {"y": b"3"})
    assert {path.name: path.read_bytes() for path in (tmp_path / "a" / "b").iterdir()} == {"x": b"1", "y": b"3"}


def test_of_several_files_none_comes_if_one_cannot(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    (tmp_path / "x").write_bytes(b"older")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match="folder is there and is not a regular file"):
        write_files(tmp_path, {"x": b"newer", "folder": b""})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        for directory in (tmp_path, tmp_path / "new"):
            with pytest.raises(OutputError, match=r"could not be written to .*File too large"):
                write_files(directory, {"x": b"newer", "y": bytes(10_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / "x").read_bytes() == b"older"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "x"]
