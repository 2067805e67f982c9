"""Calls with several arrays or tensors, by position and by name, which the engine takes without words of Python's."""

import io

import numpy as np
import pytest
import torch
from torch import nn

import sparbor
from sparbor.engine.runtime import Runtime
from sparbor.errors import ArgumentError, ModelFileError


class Sums(nn.Module):
    """Of as many inputs as it is called with; one answer, or several by name."""

    def __init__(self, several: bool) -> None:
        super().__init__()
        self.layer, self.several = nn.Linear(4, 4), several

    def forward(self, a, b, c, d, e):
        total = self.layer(a) + b + c + d + e
        return {"total": total, "rest": b - c} if self.several else total


NAMES = ("a", "b", "c", "d", "e")
RUNTIMES = {
    several: sparbor.deploy(Sums(several), {name: torch.zeros(1, 4) for name in NAMES}) for several in (False, True)
}
TENSORS = [torch.full((2, 4), float(number)) for number in range(5)]
ARRAYS = [each.numpy() for each in TENSORS]


@pytest.fixture
def without_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def used(*_, **__):
        raise AssertionError("the call went through Python")

    monkeypatch.setattr(Runtime, "_checked_call", used)


def named(values, names=NAMES):
    return dict(zip(names, values, strict=True))


@pytest.mark.usefixtures("without_words")
@pytest.mark.parametrize("values", [TENSORS, ARRAYS], ids=["tensors", "arrays"])
def test_positions_and_names(values) -> None:
    runtime = RUNTIMES[False]
    expected = runtime(*values)
    assert type(expected) is type(values[0])
    assert float(expected[0, 0]) != 0
    shuffled = dict(reversed(named(values).items()))
    for given in (runtime(**shuffled), runtime(*values[:2], **named(values[2:], NAMES[2:]))):
        assert (given == expected).all()


@pytest.mark.usefixtures("without_words")
@pytest.mark.parametrize("values", [TENSORS, ARRAYS], ids=["tensors", "arrays"])
def test_answers_by_name(values) -> None:
    answer = RUNTIMES[True](*values)
    assert list(answer) == ["total", "rest"]
    assert type(answer["rest"]) is type(values[0])
    assert (answer["rest"] == -1).all()


@pytest.mark.usefixtures("without_words")
def test_an_array_for_the_answer() -> None:
    out = np.empty((2, 4), np.float32)
    assert RUNTIMES[False](*ARRAYS, out=out) is out
    assert (out == RUNTIMES[False](**named(ARRAYS))).all()


def test_what_needs_words() -> None:
    """A gradient, a tensor's own memory for the answer, an array that lies otherwise: they work, or are refused."""
    runtime = RUNTIMES[False]
    expected = runtime(*TENSORS)
    assert torch.equal(runtime(TENSORS[0].clone().requires_grad_(), *TENSORS[1:]), expected)
    out = torch.empty(2, 4)
    assert runtime(*TENSORS, out=out) is out
    assert torch.equal(out, expected)
    for values, words in (
        ((TENSORS[0], *ARRAYS[1:]), "all of one kind"),
        ((TENSORS[0].double(), *TENSORS[1:]), "a is torch.float64"),
        ((TENSORS[0][:1], *TENSORS[1:]), "sizes of one name"),
        ((TENSORS[0].t().contiguous().t(), *TENSORS[1:]), "not contiguous"),
        (tuple(TENSORS[:4]), "e is missing"),
        ((*TENSORS, TENSORS[0]), "6 inputs"),
    ):
        with pytest.raises(ArgumentError, match=words):
            runtime(*values)
    with pytest.raises(ArgumentError, match="f is no input"):
        runtime(**named(TENSORS, (*NAMES[:4], "f")))
    with pytest.raises(ArgumentError, match="a is given twice"):
        runtime(*TENSORS[:4], a=TENSORS[4])
    assert torch.equal(runtime(*TENSORS), expected)


class Slow(io.BytesIO):
    """A file that gives a few bytes at a time, and perhaps ends early."""

    def __init__(self, content: bytes, ends: int | None = None) -> None:
        super().__init__(content)
        self.ends = ends

    def readinto(self, to) -> int:
        if self.ends is not None and self.tell() >= self.ends:
            return 0
        return super().readinto(memoryview(to)[:100])


def test_a_file_is_read_part_by_part(tmp_path) -> None:
    RUNTIMES[False].save(tmp_path / "model.safetensors")
    content = (tmp_path / "model.safetensors").read_bytes()
    assert torch.equal(Runtime(Slow(content))(*TENSORS), RUNTIMES[False](*TENSORS))
    with pytest.raises(ModelFileError, match="ended at byte"):
        Runtime(Slow(content, len(content) - 200))


def test_a_file_that_fails_while_it_is_read(tmp_path) -> None:
    class Failing(io.BytesIO):
        def readinto(self, to):
            raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        Runtime(Failing(b"x" * 100))
    with pytest.raises(ModelFileError, match="could not read"):
        sparbor.load(tmp_path)
