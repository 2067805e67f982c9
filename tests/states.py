"""Comparing what is saved of a training run."""

import io
from collections.abc import Callable
from typing import Any

import torch


def assert_same(one: Any, other: Any, where: str = "state") -> None:
    """Two states are equal to the last bit, but for the time and the energy they took."""
    assert type(one) is type(other), where
    if isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype, where
        assert torch.equal(one, other), where
    elif isinstance(one, dict):
        assert list(one) == list(other), where
        for name in one.keys() - {"seconds", "cpu_seconds", "energy_joules"}:
            assert_same(one[name], other[name], f"{where}.{name}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), where
        for index, pair in enumerate(zip(one, other, strict=True)):
            assert_same(*pair, f"{where}[{index}]")
    else:
        assert one == other, where


def assert_resumes_bit_for_bit(begin: Callable[[], Any], train: Callable[..., None], at: int = 8) -> tuple[Any, Any]:
    """A run that is saved at a step and goes on in new objects ends as one that is not; the parts of both.

    ``begin()`` makes a run's parts, the model and the optimizer first; ``train(model, optimizer, first, last)`` makes
    those steps.
    """
    parts = begin()
    train(*parts[:2], 0, at)
    file = io.BytesIO()
    torch.save([part.state_dict() for part in parts], file)
    train(*parts[:2], at)
    file.seek(0)
    others = begin()
    for part, state in zip(others, torch.load(file), strict=True):
        part.load_state_dict(state)
    train(*others[:2], at)
    for key, value in parts[0].state_dict().items():
        assert torch.equal(value, others[0].state_dict()[key]), key
    return parts, others
