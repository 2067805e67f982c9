"""SIGTERM as an exception, and children that do not outlive it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench import children
from sparbor import termination
from sparbor.termination import Terminated

pytestmark = pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals")


@pytest.fixture(autouse=True)
def handlers_as_before() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    assert signal.getsignal(signal.SIGTERM) == before
    signal.signal(signal.SIGTERM, before)


def test_it_raises_what_ends_as_an_interrupt_does() -> None:
    with pytest.raises(KeyboardInterrupt), termination.raised():
        signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda *_: None])
def test_who_handles_or_ignores_it_goes_on_doing_so(handler: Callable[..., None]) -> None:
    before = signal.signal(signal.SIGTERM, handler)
    with termination.raised():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is handler
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_until_a_child_has_started(number: signal.Signals) -> None:
    steps = []

    def start() -> None:
        with children.deferred():
            signal.raise_signal(number)
            steps.append("started")

    with termination.raised(), pytest.raises(KeyboardInterrupt):
        start()
    assert steps == ["started"]


def test_a_child_is_stopped_with_its_parent(tmp_path: Path) -> None:
    """The child says when it runs by a signal that raises here, within the wait for its output."""
    named = tmp_path / "pid"
    started = (
        "import os, pathlib, signal, sys, time; pathlib.Path(sys.argv[1]).write_text(str(os.getpid()));"
        " os.kill(os.getppid(), signal.SIGTERM); time.sleep(60)"
    )
    start = time.monotonic()
    with pytest.raises(Terminated), termination.raised():
        children.run_child([sys.executable, "-c", started, str(named)])
    assert time.monotonic() - start < 50
    with pytest.raises(ProcessLookupError):  # it has gone, and has been waited for
        os.kill(int(named.read_text()), 0)


def test_what_a_child_says_and_how_long_it_may_take(tmp_path: Path) -> None:
    done = children.run_child([sys.executable, "-c", "import sys; print('said'); sys.exit('wrong')"])
    assert (done.returncode, done.stdout, done.stderr) == (1, "said\n", "wrong\n")
    with pytest.raises(subprocess.TimeoutExpired):
        children.run_child([sys.executable, "-c", "import time; time.sleep(60)"], timeout=0.1)
    with pytest.raises(FileNotFoundError):
        children.run_child([str(tmp_path / "absent")])
