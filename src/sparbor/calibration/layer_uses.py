"""Layers of a lowered model one by one, to see what each costs: packed sparse or dense, and run alone."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import torch

from sparbor.engine.runtime import Runtime
from sparbor.lower.unpacked import LayerWeights, UnpackedProgram
from sparbor.native import choose_kernel_set, convolution_share, linear_share
from sparbor.packing.dense_weights import pack_dense
from sparbor.packing.filters import pack_by_groups, pack_filters
from sparbor.packing.slots import BRANCH, NEURON_BLOCK, Encoding, Floats, SparseLayer
from sparbor.program.dimensions import size_at
from sparbor.program.program import Operation, Port, Program, ScaleShift, ValueType, Weights
from sparbor.program.windows import Window, geometry, planes_of
from sparbor.recipe.pattern import Slots
from sparbor.topology.rewire import magnitude_mask

# Of the logarithm of an input's and of a tile's importance: slots per branch then vary as in a trained layer.
INPUT_SPREAD, TILE_SPREAD = 0.5, 0.3


@dataclass(frozen=True)
class Use:
    """One call of a layer in the program, with what it needs to be packed and run alone."""

    lowered: UnpackedProgram
    operation: Operation

    @property
    def label(self) -> str:
        """What the program calls the layer, once for each call."""
        return str(self.operation.layer)

    @property
    def name(self) -> str:
        """The layer's path: a layer that is called again has a number behind its name."""
        return self.label.partition(":")[0]

    @property
    def weights(self) -> LayerWeights:
        """Its matrix and bias."""
        weights = self.lowered.weights[self.label]
        assert isinstance(weights, LayerWeights)
        return weights

    @property
    def sparse_to(self) -> float:
        """The share of its slots up to which it is sure to run sparse."""
        x, y = (_numbers(value) for value in self._values)
        if isinstance(self.operation.settings, Window):
            neurons = y[1] // self._groups
            # Here synapses count, and slots may have 16 or fewer.
            filled = neurons / (-(-neurons // NEURON_BLOCK) * NEURON_BLOCK)
            sizes = geometry(self.operation.settings, planes_of(x[1:]), planes_of(y[1:]))
            return filled * convolution_share(sizes, choose_kernel_set())
        return linear_share(math.prod(y[:-1]), choose_kernel_set())

    def sparse(self, weight: Floats, density: float) -> SparseLayer:
        """The matrix packed with that share of its weights."""
        mask = magnitude_mask(torch.from_numpy(weight), Slots(), density, self._groups).numpy()
        return pack_by_groups(weight, mask, self._bias, self._groups, Encoding.WORD16)

    def dense(self, weight: Floats) -> Weights:
        """The matrix packed with all of its weights."""
        convolves = isinstance(self.operation.settings, Window)
        return (pack_filters if convolves else pack_dense)(weight, self._bias, Encoding.WORD16)

    def alone(self, layer: Weights) -> Runtime:
        """A program of nothing but this call."""
        operation = dataclasses.replace(self.operation, inputs=(0,), output=1, layer=self.name)
        ports = (Port("input", 0),), (Port("output", 1),)
        return Runtime(Program(self._values, *ports, (operation,), {self.name: layer}))

    @property
    def _values(self) -> tuple[ValueType, ValueType]:
        """What it reads and what it computes."""
        return self.lowered.values[self.operation.inputs[0]], self.lowered.values[self.operation.output]

    @property
    def _groups(self) -> int:
        return self.operation.settings.groups if isinstance(self.operation.settings, Window) else 1

    @property
    def _bias(self) -> Floats | None:
        bias = self.weights.bias
        return None if bias is None else np.zeros(len(bias), np.float32)


def uses(lowered: UnpackedProgram, names: set[str]) -> list[Use]:
    """The calls of the layers of these names, in order."""
    found = [Use(lowered, operation) for operation in lowered.operations if operation.layer is not None]
    return [use for use in found if use.name in names and not isinstance(lowered.weights[use.label], ScaleShift)]


def _numbers(value: ValueType) -> tuple[int, ...]:
    """The shape of a value of a program for one item, where no size has a name."""
    return tuple(size_at(size, {}) for size in value.shape)


def uneven(outputs: int, fan_in: int) -> Floats:
    """Weights of which some inputs and some tiles have larger ones, so that slot counts vary as training makes them."""
    random = np.random.default_rng(0)
    tiles = np.exp(TILE_SPREAD * random.standard_normal((-(-outputs // NEURON_BLOCK), -(-fan_in // BRANCH))))
    by_weight = tiles.repeat(NEURON_BLOCK, 0)[:outputs].repeat(BRANCH, 1)[:, :fan_in]
    inputs = np.exp(INPUT_SPREAD * random.standard_normal(fan_in))
    weight: Floats = (random.standard_normal((outputs, fan_in)) * inputs * by_weight).astype(np.float32)
    return weight
