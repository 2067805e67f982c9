"""Comparing what is saved of a training run."""

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
