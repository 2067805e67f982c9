"""One network: built, trained sparse for a few steps, deployed, and compared with PyTorch."""

from __future__ import annotations

import copy
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

import sparbor
from bench.network_zoo.network import Inputs, Network, call
from sparbor import PAINeuronModule, Recipe, Schedule

RECIPE = Recipe(sparsity=0.8, schedule=Schedule(interval=1))
STEPS = 4  # one dense, then sparse; the topology changes at the second and the third
TRAINED_ON = 4  # items
LENGTH = 16  # of the sequences that are trained on and given to deploy, where lengths allow
BATCHES = (1, 5)  # that answers are compared at
DEEP = 20  # matrices from which on a network's roundings may add up further

# The largest relative error that counts as the same answer with exact weights.
EXACT_LIMIT, EXACT_LIMIT_OF_DEEP = 1e-5, 1e-4
# 16-bit weights are each rounded by up to 1/64, so that each layer changes its answer by 0.5 to 1 %.
WORD16_LIMIT, WORD16_ROUNDING = 1.6e-2, 1 / 64
# What becomes of a rounding the network decides: with random weights it may grow with every layer. Where an answer is
# off by more than that, PyTorch's own answers show how far roundings move them, and the engine's may be off by this
# many times as much. They differ from items to items, so that others are looked at, too.
TIMES_PYTORCH, OTHERS = 2, 3
MOST_TEXT = 2000  # characters of an error that are kept


class ParityError(Exception):
    """The engine's answer is not PyTorch's."""


def check(
    network: Network, lengths: tuple[int, ...] | None = None, encodings: tuple[str, ...] = ("exact", "word16")
) -> dict[str, Any]:
    """What came of the network, as plain data; ``failed`` says at which step it ended, and is ``None`` if it did not.

    ``lengths`` are those of sequences that answers are compared at, in place of the network's own; ``encodings`` how
    weights are stored, each in a deployment of its own.
    """
    course = Course(network, network.lengths if lengths is None else lengths, encodings)
    steps = {"build": course.build, "train": course.train, "deploy": course.deploy, "parity": course.compare}
    for name, step in steps.items():
        try:
            step()
        except Exception as error:  # whatever it is, it is the result
            text = f"{type(error).__name__}: {error}".strip()
            return {**course.row, "failed": name, "error": text[:MOST_TEXT]}
    return {**course.row, "failed": None, "error": None}


class Course:
    """The steps in order, and the row that they fill."""

    def __init__(self, network: Network, lengths: tuple[int, ...], encodings: tuple[str, ...]) -> None:
        self.network, self.lengths, self.encodings = network, lengths, encodings
        self.row: dict[str, Any] = dict(name=network.name, family=network.family, package=network.package)
        self.random = torch.Generator().manual_seed(0)
        self.runtimes: dict[str, Any] = {}

    def build(self) -> None:
        torch.manual_seed(0)
        self.model = awake(self.network.build())
        parameters = list(self.model.parameters())
        self.row["parameters"] = sum(each.numel() for each in parameters)
        self.row["matrices"] = sum(sum(size > 1 for size in each.shape) > 1 for each in parameters)
        stored = [*parameters, *self.model.buffers()]
        self.row["dense_bytes"] = sum(each.numel() * each.element_size() for each in stored)

    def train(self) -> None:
        self.model.train()
        optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4)
        perforator = sparbor.perforate(self.model, optimizer, RECIPE, total_steps=STEPS)
        items = self.inputs(TRAINED_ON)
        began = time.perf_counter()
        for _ in range(STEPS):
            answers = [each for each in tensors(call(self.model, items)) if each.is_floating_point()]
            loss = torch.stack([each[each.isfinite()].square().mean() for each in answers]).sum()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            optimizer.zero_grad()
        self.row["training_s"] = round(time.perf_counter() - began, 2)
        self.row["taken"] = sum(each.taken for each in perforator.findings)
        masks = [module.mask for module in perforator.modules.values()]
        self.row["weights_taken"] = sum(mask.numel() for mask in masks)
        self.row["density"] = perforator.density()
        if not all(parameter.isfinite().all() for parameter in self.model.parameters()):
            raise ArithmeticError("a weight is NaN or infinite after training")
        settle_norms(self.model, items)
        self.model.eval()

    def deploy(self) -> None:
        for weights in self.encodings:
            began = time.perf_counter()
            self.runtimes[weights] = sparbor.deploy(self.model, self.inputs(2), weights=weights)
            self.row[f"deploying_{weights}_s"] = round(time.perf_counter() - began, 2)
        last, items = self.runtimes[self.encodings[-1]], self.inputs(1)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "model.safetensors"
            last.save(file)
            self.row["file_bytes"] = file.stat().st_size
            pairs = zip(run(last, items), run(sparbor.load(file), items), strict=True)
            if not all(torch.equal(one, other) for one, other in pairs):
                raise ParityError("the model that was saved and loaded answers otherwise")

    def compare(self) -> None:
        exact = EXACT_LIMIT_OF_DEEP if self.row["matrices"] > DEEP else EXACT_LIMIT
        limits = {"exact": exact, "word16": WORD16_LIMIT}
        moved_by = {"exact": self.moved_by_float32, "word16": self.moved_by_rounded_weights}
        at = dict.fromkeys(self.runtimes, "")
        self.row |= dict.fromkeys(self.runtimes, 0.0)
        for length in self.lengths or (0,):
            for batch in BATCHES:
                items = self.network.inputs(batch, length, self.random)
                wanted = answers_of(self.model, items)
                if not any(bool(each.any()) for each in wanted):
                    raise ParityError("the network answers nothing but zeros, which show nothing")
                for weights, runtime in self.runtimes.items():
                    error = largest_error(run(runtime, items), wanted)
                    if not error <= self.row[weights]:
                        self.row[weights] = error
                        at[weights] = f"batch {batch}" + (f", length {length}" if self.lengths else "")
                    if error > limits[weights]:
                        others = [self.network.inputs(batch, length, self.random) for _ in range(OTHERS)]
                        moved = max(moved_by[weights](each) for each in (items, *others))
                        self.row[f"pytorch_{weights}"] = max(moved, self.row.get(f"pytorch_{weights}", 0.0))
        for weights in self.runtimes:
            most = max(limits[weights], TIMES_PYTORCH * self.row.get(f"pytorch_{weights}", 0.0))
            if not self.row[weights] <= most:
                raise ParityError(
                    f"{weights} weights, {at[weights]}: off by {self.row[weights]:.2g}, more than {most:.2g}"
                )

    def moved_by_float32(self, items: Inputs) -> float:
        """How far PyTorch's answers are from its own in double precision."""
        exact = copy.deepcopy(self.model).double()
        return largest_error(answers_of(self.model, items), answers_of(exact, in_double(items)))

    def moved_by_rounded_weights(self, items: Inputs) -> float:
        """How far PyTorch's answers move when each kept weight changes at random by as much as rounding does."""
        rounded = copy.deepcopy(self.model)
        with torch.no_grad():
            for module in rounded.modules():
                if isinstance(module, PAINeuronModule):
                    noise = torch.rand(module.parameter.shape, generator=self.random) * 2 - 1
                    module.parameter.mul_(1 + WORD16_ROUNDING * noise)
        return largest_error(answers_of(rounded, items), answers_of(self.model, items))

    def inputs(self, batch: int) -> Inputs:
        """Items for training and deploying."""
        return self.network.inputs(batch, min(LENGTH, max(self.network.lengths, default=0)), self.random)


def awake(model: nn.Module) -> nn.Module:
    """The model with noise on every parameter that is the same number everywhere.

    Norms begin with ones and zeros, residual branches with factors of a millionth, biases with nothing: what is done
    with them would not show in the answers.
    """
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.numel() and bool((parameter == parameter.flatten()[0]).all()):
                parameter.add_(torch.randn(parameter.shape), alpha=0.1)
    return model


def settle_norms(model: nn.Module, items: Inputs) -> None:
    """Give batch norms the statistics of these items, which a few steps of training do not bring about."""
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches since
    if norms:
        with torch.no_grad():
            call(model.train(), items)


def answers_of(model: nn.Module, items: Inputs) -> list[Tensor]:
    """What PyTorch answers."""
    with torch.no_grad():
        return list(tensors(call(model, items)))


def tensors(value: Any) -> Iterator[Tensor]:
    """The tensors of an answer in order: of a tensor, of tuples, and of dictionaries such as Transformers returns."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from tensors(each)
    elif isinstance(value, (tuple, list)):
        for each in value:
            yield from tensors(each)
    elif value is not None:
        raise TypeError(f"the network returns a {type(value).__name__} within its answer")


def in_double(items: Inputs) -> Inputs:
    """The same inputs, floats in double precision."""
    if isinstance(items, dict):
        return {name: each.double() if each.is_floating_point() else each for name, each in items.items()}
    if isinstance(items, tuple):
        return tuple(each.double() if each.is_floating_point() else each for each in items)
    return items.double() if items.is_floating_point() else items


def run(runtime: Any, items: Inputs) -> list[Tensor]:
    """What the engine answers."""
    if isinstance(items, Tensor):
        return list(tensors(runtime(items)))
    return list(tensors(runtime(**items) if isinstance(items, dict) else runtime(*items)))


def largest_error(computed: list[Tensor], wanted: list[Tensor]) -> float:
    """The largest relative error of all tensors: the norm of the difference over PyTorch's, where that is finite."""
    if [each.shape for each in computed] != [each.shape for each in wanted]:
        shapes = ([tuple(each.shape) for each in some] for some in (computed, wanted))
        raise ParityError("answers of shapes {}, PyTorch's {}".format(*shapes))
    return max(map(_error, computed, wanted))


def _error(computed: Tensor, wanted: Tensor) -> float:
    finite = wanted.isfinite()
    if not torch.equal(finite, computed.isfinite()):
        return float("inf")
    difference = (computed.double() - wanted.double())[finite].norm()
    return float(difference / wanted.double()[finite].norm().clamp(min=1e-30))
