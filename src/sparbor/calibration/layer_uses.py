"""Layers of a lowered model one by one, to see what each costs: packed sparse or dense, and run alone."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from sparbor.engine.runtime import Runtime
from sparbor.lower.unpacked import LayerWeights, UnpackedProgram
from sparbor.native import byte_linear_share, choose_kernel_set, convolution_share, linear_share
from sparbor.packing.dense_weights import pack_dense
from sparbor.packing.filters import pack_by_groups, pack_filters
from sparbor.packing.quads import SYNAPSES, QuadLayer, pack_quads
from sparbor.packing.slots import BRANCH, NEURON_BLOCK, Encoding, Floats, SparseLayer
from sparbor.program.dimensions import size_at
from sparbor.program.program import Operation, Port, Program, ScaleShift, ValueType, Weights
from sparbor.program.windows import Window, geometry, planes_of
from sparbor.recipe.pattern import Quads, Slots
from sparbor.topology.matrix import channels_first, input_row
from sparbor.topology.rewire import magnitude_mask
from sparbor.topology.units import slot_counts

# Of the logarithm of an input's and of a tile's importance: slots per branch then vary as in a trained layer.
INPUT_SPREAD, TILE_SPREAD = 0.5, 0.3


def encoding_for(pattern: Slots | Quads) -> Encoding:
    """What a model is deployed as whose masks have this pattern."""
    return Encoding.INT8 if isinstance(pattern, Quads) else Encoding.WORD16


@dataclass(frozen=True)
class Use:
    """One call of a layer in the program, with what it needs to be packed by a pattern and run alone."""

    lowered: UnpackedProgram
    operation: Operation
    pattern: Slots | Quads

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
    def encoding(self) -> Encoding:
        """What it is stored as while it is sparse: of the pattern of 8-bit layers, rows alone are multiplied so."""
        convolves = isinstance(self.operation.settings, Window)
        return Encoding.WORD16 if convolves else encoding_for(self.pattern)

    @property
    def sparse_to(self) -> float:
        """The share of its slots, or of its quads, up to which it is sure to run sparse."""
        x, y = (_numbers(value) for value in self._values)
        if isinstance(self.operation.settings, Window):
            neurons = y[1] // self._groups
            # Here synapses count, and slots may have 16 or fewer.
            filled = neurons / (-(-neurons // NEURON_BLOCK) * NEURON_BLOCK)
            sizes = geometry(self.operation.settings, planes_of(x[1:]), planes_of(y[1:]))
            return filled * convolution_share(sizes, choose_kernel_set())
        rows, isa = math.prod(y[:-1]), choose_kernel_set()
        if self.encoding is Encoding.INT8:
            fan_in = self.weights.matrix.shape[1]
            filled = fan_in / (-(-fan_in // SYNAPSES) * SYNAPSES)  # of the last quad of all that there could be
            return filled * byte_linear_share(rows, isa)
        return linear_share(rows, isa)

    def mask(self, weight: Floats, density: float) -> torch.Tensor:
        """Which share of the matrix' weights is kept, as the pattern sees them."""
        return magnitude_mask(torch.from_numpy(weight), self.pattern, density, self._groups, self._input_row)

    def units(self, mask: torch.Tensor) -> int:
        """How many slots (or quads) are kept."""
        return int(slot_counts(mask, self.pattern, self._groups, self._input_row).sum())

    def sparse(self, weight: Floats, mask: torch.Tensor) -> SparseLayer | QuadLayer:
        """The matrix packed with what is kept of it; both are as the pattern sees them."""
        if self.encoding is Encoding.INT8:
            return pack_quads(weight, mask.numpy(), self._bias)
        return pack_by_groups(self._stored(torch.from_numpy(weight)), self._stored(mask), self._bias, self._groups)

    def dense(self, weight: Floats) -> Weights:
        """The matrix packed with all of its weights."""
        convolves = isinstance(self.operation.settings, Window)
        return (pack_filters if convolves else pack_dense)(weight, self._bias, self.encoding)

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
    def _kernels(self) -> tuple[int, ...]:
        """The shape of the weight that the matrix is made of, neurons first."""
        outputs, fan_in = self.weights.matrix.shape
        settings = self.operation.settings
        kernel = settings.kernel if isinstance(settings, Window) else ()
        return (outputs, fan_in // math.prod(kernel), *kernel)

    @property
    def _input_row(self) -> int | None:
        settings = self.operation.settings
        if not self.pattern.channels_last:
            return None
        return input_row(self._kernels, settings.dilation[1] if isinstance(settings, Window) else 1)

    def _stored(self, values: torch.Tensor) -> npt.NDArray[Any]:
        """A matrix as the pattern sees it, with its inputs in the order in which layers of 16 bits have them."""
        return (channels_first(values, self._kernels) if self.pattern.channels_last else values).numpy()

    @property
    def _groups(self) -> int:
        return self.operation.settings.groups if isinstance(self.operation.settings, Window) else 1

    @property
    def _bias(self) -> Floats | None:
        bias = self.weights.bias
        return None if bias is None else np.zeros(len(bias), np.float32)


def uses(lowered: UnpackedProgram, names: set[str], pattern: Slots | Quads) -> list[Use]:
    """The calls of the layers of these names, in order."""
    found = [Use(lowered, operation, pattern) for operation in lowered.operations if operation.layer is not None]
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
