"""The line on a terminal that shows how far something has come."""

import io
import threading

import pytest
import torch

import sparbor
from sparbor.progress import shown, tell
from tests.test_sparsify import mlp


class Terminal(io.StringIO):
    """Keeps what is written on it."""

    def isatty(self) -> bool:
        return True


def terminal(monkeypatch: pytest.MonkeyPatch, patience: float = 0.0) -> Terminal:
    """Standard error from now on; pytest puts its own back before a test begins, so no fixture can do this."""
    made = Terminal()
    monkeypatch.setattr("sys.stderr", made)
    monkeypatch.setattr("sparbor.progress.PATIENCE", patience)
    monkeypatch.setenv("COLUMNS", "60")
    return made


def wait_for_the_line() -> None:
    for timer in (each for each in threading.enumerate() if isinstance(each, threading.Timer)):
        timer.join(5)


def test_steps_stand_in_one_line_that_goes_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    with shown("cook"):
        wait_for_the_line()
        tell("peels potatoes", 1, 4)
        tell("x" * 100)
    lines = screen.getvalue().split("\r\x1b[K")
    assert lines == ["", "cook begins", "cook [#####...............] 1 of 4: peels potatoes", "cook " + 54 * "x", ""]


def test_what_is_done_soon_needs_no_line(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch, patience=60.0)
    with shown("cook"):
        tell("peels potatoes", 1, 4)
    assert screen.getvalue() == ""


def test_what_is_within_something_larger_has_no_line_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    with shown("dine"):
        wait_for_the_line()
        with shown("cook"):
            tell("peels potatoes")
        tell("eats")
    assert screen.getvalue().split("\r\x1b[K")[1:-1] == ["dine begins", "dine peels potatoes", "dine eats"]


def test_nothing_is_shown_where_none_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    with shown("dine", wanted=False), shown("cook", wanted=False):
        wait_for_the_line()
        tell("peels potatoes")
    tell("outside of all lines")
    assert screen.getvalue() == ""


def test_the_line_goes_when_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)

    def burns() -> None:
        with shown("cook"):
            wait_for_the_line()
            raise ValueError("burnt")

    with pytest.raises(ValueError, match="burnt"):
        burns()
    assert screen.getvalue() == "\r\x1b[Kcook begins\r\x1b[K"


def test_deploying_tells_what_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    with shown("all"):
        wait_for_the_line()
        sparbor.deploy(mlp(64, 32, 16), torch.zeros(1, 64))
    lines = screen.getvalue()
    for step in ("traces the model", "] 0 of 2: packs", "] 1 of 2: packs", "compares the engine's answers"):
        assert step in lines
