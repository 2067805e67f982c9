import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench import CHECKOUT
from bench.data.errors import DataError
from bench.data.fetch import DownloadError, FindFault, Limits, fetch, store
from tests.conftest import Mirror

CONTENT = bytes(range(256)) * 400
QUICK = Limits(answer=0.4, stall=0.4, total=5.0)

posix = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX locks, limits and signals")


def expects(content: bytes) -> FindFault:
    return lambda path: None if path.read_bytes() == content else f"{path.stat().st_size} bytes of something else"


is_content = expects(CONTENT)


def part_of(path: Path) -> Path:
    return path.with_name(path.name + ".part")


def data_files(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir() if file.name != ".lock")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file"


@pytest.fixture
def url(mirror: Mirror) -> str:
    mirror.files["file"] = CONTENT
    return mirror.url + "file"


# Arriving
# --------


def test_a_file_arrives_whole_and_alone(url: str, tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file"
    fetch(url, path, is_content)
    assert path.read_bytes() == CONTENT
    assert data_files(path.parent) == ["file"]


def test_a_sound_file_is_not_fetched_again(url: str, path: Path, mirror: Mirror) -> None:
    path.write_bytes(CONTENT)
    fetch(url, path, is_content)
    assert mirror.requests == []


def test_an_unsound_file_is_replaced(url: str, path: Path) -> None:
    path.write_bytes(b"damaged")
    fetch(url, path, is_content)
    assert path.read_bytes() == CONTENT


def test_the_proxy_of_the_environment_is_used(
    url: str, path: Path, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", mirror.url)
    fetch("http://far-away.invalid/file", path, is_content)
    assert mirror.requests == [("http://far-away.invalid/file", None)]


# Resuming
# --------


def test_a_broken_download_is_resumed_where_it_broke(url: str, path: Path, mirror: Mirror) -> None:
    mirror.break_after = 70_000
    with pytest.raises(DownloadError, match=r"/file: broke off after 70000 (of 102400 )?bytes"):
        fetch(url, path, is_content)
    assert data_files(path.parent) == ["file.part"]
    assert part_of(path).read_bytes() == CONTENT[:70_000]

    mirror.break_after = None
    fetch(url, path, is_content)
    assert path.read_bytes() == CONTENT
    assert data_files(path.parent) == ["file"]
    assert mirror.requests == [("/file", None), ("/file", "bytes=70000-")]


def test_another_server_resumes_it_too(url: str, path: Path, mirror: Mirror, new_mirror: Callable[[], Mirror]) -> None:
    mirror.break_after = 1
    with pytest.raises(DownloadError):
        fetch(url, path, is_content)
    other = new_mirror()
    other.files["file"] = CONTENT
    fetch(other.url + "file", path, is_content)
    assert path.read_bytes() == CONTENT
    assert other.requests == [("/file", "bytes=1-")]


def test_a_server_that_ignores_the_range_starts_anew(url: str, path: Path, mirror: Mirror) -> None:
    part_of(path).write_bytes(CONTENT[:500])
    mirror.ranges = False
    fetch(url, path, is_content)
    assert path.read_bytes() == CONTENT
    assert mirror.requests == [("/file", "bytes=500-")]


def test_a_server_that_serves_another_range_is_asked_for_the_whole(url: str, path: Path, mirror: Mirror) -> None:
    part_of(path).write_bytes(CONTENT[:500])
    mirror.range_shift = 256  # the content repeats after 256 bytes: the seam does not show, only the length does
    fetch(url, path, is_content)
    assert path.read_bytes() == CONTENT
    assert mirror.requests == [("/file", "bytes=500-"), ("/file", None)]


def test_a_part_longer_than_the_file_is_thrown_away(url: str, path: Path, mirror: Mirror) -> None:
    part_of(path).write_bytes(CONTENT + b"more")
    fetch(url, path, is_content)
    assert path.read_bytes() == CONTENT
    assert mirror.requests == [("/file", f"bytes={len(CONTENT) + 4}-"), ("/file", None)]


def test_a_part_of_something_else_is_thrown_away(url: str, path: Path, mirror: Mirror) -> None:
    part_of(path).write_bytes(b"something else")
    fetch(url, path, is_content)
    assert path.read_bytes() == CONTENT
    assert mirror.requests == [("/file", "bytes=14-"), ("/file", None)]


def test_a_complete_part_only_takes_its_name(url: str, path: Path, mirror: Mirror) -> None:
    part_of(path).write_bytes(CONTENT)
    fetch(url, path, is_content)
    assert path.read_bytes() == CONTENT
    assert data_files(path.parent) == ["file"]
    assert mirror.requests == []


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(min_size=1, max_size=3000),
    other=st.binary(max_size=3000),
    cut=st.integers(0, 3000),
    ranges=st.booleans(),
)
def test_whatever_part_is_there_the_right_content_arrives(
    mirror: Mirror, path: Path, content: bytes, other: bytes, cut: int, ranges: bool
) -> None:
    mirror.files["file"], mirror.ranges = content, ranges
    path.unlink(missing_ok=True)
    part_of(path).write_bytes(content[:cut] + other)
    fetch(mirror.url + "file", path, expects(content))
    assert path.read_bytes() == content
    assert data_files(path.parent) == ["file"]


# Servers that fail
# -----------------


def test_wrong_content_leaves_nothing(url: str, path: Path, mirror: Mirror) -> None:
    mirror.files["file"] = b"<html>please log in</html>"
    with pytest.raises(DownloadError, match="/file: wrong content: 26 bytes of something else") as caught:
        fetch(url, path, is_content)
    assert isinstance(caught.value, DataError)
    assert data_files(path.parent) == []


@pytest.mark.parametrize(("status", "text"), [(404, "Not Found"), (500, "Internal Server Error")])
def test_an_error_status_keeps_the_part(url: str, path: Path, mirror: Mirror, status: int, text: str) -> None:
    part_of(path).write_bytes(CONTENT[:500])
    mirror.status = status
    with pytest.raises(DownloadError, match=f"/file: HTTP {status} {text}"):
        fetch(url, path, is_content)
    assert part_of(path).read_bytes() == CONTENT[:500]


def test_a_server_that_is_down(refused_url: str, path: Path) -> None:
    with pytest.raises(DownloadError, match=r"/file: .*[Rr]efused"):
        fetch(refused_url + "file", path, is_content)


def test_a_host_without_an_address_fails_within_seconds(path: Path) -> None:
    begun = time.monotonic()
    with pytest.raises(DownloadError, match=r"^https://no-such-host\.invalid/file: "):
        fetch("https://no-such-host.invalid/file", path, is_content, Limits(answer=2.0))
    assert time.monotonic() - begun < 4.0


def test_a_server_that_never_answers(url: str, path: Path, mirror: Mirror) -> None:
    mirror.silent = True
    begun = time.monotonic()
    with pytest.raises(DownloadError, match=r"/file: no answer within 0\.4 s"):
        fetch(url, path, is_content, Limits(answer=0.4))
    assert time.monotonic() - begun < 4.0


def test_a_server_that_stalls_in_the_body(url: str, path: Path, mirror: Mirror) -> None:
    mirror.stall_after = 70_000
    with pytest.raises(DownloadError, match=r"/file: stalled for 0\.4 s after 70000 bytes"):
        fetch(url, path, is_content, QUICK)
    assert part_of(path).read_bytes() == CONTENT[:70_000]


def test_a_server_that_never_stalls_and_never_finishes(url: str, path: Path, mirror: Mirror) -> None:
    mirror.pause = 0.1
    begun = time.monotonic()
    with pytest.raises(DownloadError, match=r"/file: too slow: \d+ bytes after 0\.5 s"):
        fetch(url, path, is_content, Limits(stall=0.4, total=0.5))
    assert time.monotonic() - begun < 2.0
    assert CONTENT.startswith(part_of(path).read_bytes())
    assert part_of(path).stat().st_size >= 1000


# Disks that fail
# ---------------


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_one_clear_line_and_leaves_no_half_file(url: str, path: Path) -> None:
    part_of(path).symlink_to("/dev/full")
    with pytest.raises(DataError, match=r"^cannot write .*file\.part: No space left on device; make room") as caught:
        fetch(url, path, is_content)
    assert not isinstance(caught.value, DownloadError), "no other server would help"
    assert data_files(path.parent) == []


def test_a_folder_that_cannot_be_made(url: str, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file, not a folder")
    with pytest.raises(DataError, match=r"^cannot write .*taken/file: .*taken\); make .*--data-dir"):
        fetch(url, tmp_path / "taken" / "file", is_content)
    with pytest.raises(DataError, match=r"^cannot write .*taken/file: .*taken\); make .*--data-dir"):
        store(tmp_path / "taken" / "file", CONTENT)


def test_store_replaces_in_one_step(path: Path) -> None:
    path.write_bytes(b"old")
    store(path, CONTENT)
    assert path.read_bytes() == CONTENT
    assert data_files(path.parent) == ["file"]


@posix
def test_store_that_fails_midway_leaves_the_old_file(path: Path) -> None:
    import resource

    path.write_bytes(b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(DataError, match=r"file.* could not be written .File too large.: .*--data-dir"):
            store(path, CONTENT)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == b"old"
    assert data_files(path.parent) == ["file"]


# Several processes
# -----------------


def start_fetching(url: str, path: Path) -> subprocess.Popen[bytes]:
    program = (
        "import sys; from pathlib import Path; from bench.data.fetch import fetch\n"
        "wanted = bytes(range(256)) * 400\n"
        "fault = lambda path: None if path.read_bytes() == wanted else 'wrong'\n"
        "fetch(sys.argv[1], Path(sys.argv[2]), fault)\n"
        "assert Path(sys.argv[2]).read_bytes() == wanted\n"
    )
    return subprocess.Popen([sys.executable, "-c", program, url, str(path)], cwd=CHECKOUT)


@posix
def test_processes_take_turns_and_only_the_first_downloads(url: str, path: Path, mirror: Mirror) -> None:
    mirror.pause = 0.01
    processes = [start_fetching(url, path) for _ in range(4)]
    assert [process.wait(timeout=30) for process in processes] == [0, 0, 0, 0]
    assert path.read_bytes() == CONTENT
    assert mirror.requests == [("/file", None)]
    assert data_files(path.parent) == ["file"]


@posix
def test_a_killed_process_leaves_a_part_to_resume(url: str, path: Path, mirror: Mirror) -> None:
    mirror.stall_after = 90_000
    process = start_fetching(url, path)
    deadline = time.monotonic() + 30
    while not (part_of(path).exists() and part_of(path).stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=30)
    held = part_of(path).stat().st_size
    assert 0 < held <= 90_000
    assert not path.exists()

    mirror.stall_after = None
    fetch(url, path, is_content)
    assert path.read_bytes() == CONTENT
    assert mirror.requests[-1] == ("/file", f"bytes={held}-")


@posix
def test_a_lock_held_too_long_is_worked_around_with_a_private_part(url: str, path: Path, mirror: Mirror) -> None:
    import fcntl

    part_of(path).write_bytes(CONTENT[:500])
    with (path.parent / ".lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        fetch(url, path, is_content, Limits(total=0.3))
    assert path.read_bytes() == CONTENT
    assert part_of(path).read_bytes() == CONTENT[:500], "that part is the lock's holder's"
    assert data_files(path.parent) == ["file", "file.part"]
    assert mirror.requests == [("/file", None)]
