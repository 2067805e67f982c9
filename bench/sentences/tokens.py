"""Texts as the numbers of their tokens, in batches of texts that are about equally long: few places are padding."""

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

LONGEST = 64
CHUNK = 50  # batches among which texts are sorted by length: an order by lot still, but for that
ANSWERED = 64  # texts at a time, where nothing is learnt

Tokens = list[list[int]]  # of each text


def tokens_of(tokenizer: Any, texts: Sequence[str]) -> Tokens:
    """Each text's, at most ``LONGEST``."""
    found: Tokens = tokenizer(list(texts), truncation=True, max_length=LONGEST)["input_ids"]
    return found


def padded(tokens: Sequence[list[int]]) -> tuple[Tensor, Tensor]:
    """A batch and its attention mask, which is 1 where no padding is."""
    longest = max(map(len, tokens))
    ids = torch.zeros(len(tokens), longest, dtype=torch.int64)
    seen = torch.zeros_like(ids)
    for row, each in enumerate(tokens):
        ids[row, : len(each)] = torch.tensor(each)
        seen[row, : len(each)] = 1
    return ids, seen


def shuffled(tokens: Tokens, size: int, seed: int) -> list[list[int]]:
    """An epoch: the places of the texts of each batch."""
    lot = random.Random(seed)
    order = lot.sample(range(len(tokens)), len(tokens))
    batches = []
    for at in range(0, len(order), CHUNK * size):
        chunk = sorted(order[at : at + CHUNK * size], key=lambda place: len(tokens[place]))
        batches += [chunk[first : first + size] for first in range(0, len(chunk), size)]
    lot.shuffle(batches)
    return batches


def answers(call: Callable[[Tensor, Tensor], Any], tokens: Tokens) -> Tensor:
    """What a model says to each text, ``(texts, outputs)``; it is asked about texts of like lengths together."""
    found: Tensor | None = None
    for places in _by_length(tokens):
        with torch.inference_mode():
            said = torch.as_tensor(call(*padded([tokens[place] for place in places]))).float()
        if found is None:
            found = said.new_empty(len(tokens), said.shape[1])
        found[places] = said
    assert found is not None, "a task without texts"
    return found


def _by_length(tokens: Tokens) -> Iterator[list[int]]:
    order = sorted(range(len(tokens)), key=lambda place: len(tokens[place]))
    return (order[at : at + ANSWERED] for at in range(0, len(order), ANSWERED))
