"""What is said of each network, and what networks are given: images, sounds, tokens with masks, rows of numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

Inputs = Tensor | tuple[Tensor, ...] | dict[str, Tensor]
MakeInputs = Callable[[int, int, Generator], Inputs]  # of a batch size and a length

FAMILIES = (
    *("convolutional vision", "vision transformers and mixers", "detection, segmentation and images"),
    *("text", "speech and sound", "sequences", "tables", "other"),
)
LENGTHS = (1, 7, 128, 500)  # those at which networks for sequences are compared


@dataclass(frozen=True)
class Network:
    """A network, and how to call it.

    Args:
        name: stable; results are known by it.
        family: one of :data:`FAMILIES`.
        package: whose code it is, as it is imported; ``"torch"`` for networks written here.
        build: makes it, with random weights.
        inputs: makes what one call takes.
        lengths: of sequences, those that it is compared at; empty where inputs have but one size.
    """

    name: str
    family: str
    package: str
    build: Callable[[], nn.Module]
    inputs: MakeInputs
    lengths: tuple[int, ...] = ()


def images(size: int, channels: int = 3) -> MakeInputs:
    """Square images."""
    return rows(channels, size, size)


def rows(*shape: int) -> MakeInputs:
    """Items of one shape."""
    return lambda batch, _, random: torch.randn(batch, *shape, generator=random)


def frames(features: int) -> MakeInputs:
    """Sequences of vectors, (batch, length, features)."""
    return lambda batch, length, random: torch.randn(batch, length, features, generator=random)


def signals(channels: int) -> MakeInputs:
    """Sequences with the time last, (batch, channels, length)."""
    return lambda batch, length, random: torch.randn(batch, channels, length, generator=random)


def ids(vocabulary: int) -> MakeInputs:
    """Token ids alone. The smallest ones are left out: some models take them for padding."""
    return lambda batch, length, random: torch.randint(3, vocabulary, (batch, length), generator=random)


def tokens(vocabulary: int) -> MakeInputs:
    """Token ids and a mask of what is no padding, as a tokenizer gives them for texts of different lengths."""

    def make(batch: int, length: int, random: Generator) -> Inputs:
        return {
            "input_ids": torch.randint(3, vocabulary, (batch, length), generator=random),
            "attention_mask": ragged(batch, length).long(),
        }

    return make


def ragged(batch: int, length: int) -> Tensor:
    """A mask of (batch, length): the first item has the whole length, each further one less, and none is empty."""
    wanted = [max(1, length - item * length // (batch + 1)) for item in range(batch)]
    return torch.arange(length) < torch.tensor(wanted)[:, None]


def several(**parts: MakeInputs) -> MakeInputs:
    """Several inputs by their names."""
    return lambda batch, length, random: {name: _tensor(make(batch, length, random)) for name, make in parts.items()}


def in_order(*parts: MakeInputs) -> MakeInputs:
    """Several inputs, one after the other."""
    return lambda batch, length, random: tuple(_tensor(make(batch, length, random)) for make in parts)


def _tensor(inputs: Inputs) -> Tensor:
    assert isinstance(inputs, Tensor)
    return inputs


def call(model: nn.Module, inputs: Inputs) -> object:
    """What the model says of the inputs, as its users call it."""
    if isinstance(inputs, Tensor):
        return model(inputs)
    return model(**inputs) if isinstance(inputs, dict) else model(*inputs)
