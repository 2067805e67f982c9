"""Files are written at once, and only where a file may be."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sparbor.errors import OutputError
from sparbor.files import discard, write_file, write_files


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


def test_a_file_goes_with_what_killed_writers_left_of_it(tmp_path: Path) -> None:
    """A writer is killed before its file takes its place; others' files stay."""
    code = "import os, sys; from sparbor import files; os.replace = lambda *_: os.kill(os.getpid(), 9)"
    code += "; files.write_file(sys.argv[1], b'new')"
    path = tmp_path / "a[1].json"
    path.write_bytes(b"old")
    assert subprocess.run([sys.executable, "-c", code, str(path)]).returncode == -signal.SIGKILL
    others = [tmp_path / name for name in (".a[1].json.swp", "a[1].json.0123456789abcdef", ".a1.json.0123456789abcdef")]
    for other in others:
        other.write_bytes(b"")
    assert len(list(tmp_path.iterdir())) == 5
    assert path.read_bytes() == b"old"
    discard(path)
    discard(path)
    assert sorted(tmp_path.iterdir()) == sorted(others)
