"""Weights and masks to slots and synapse words, and back.

A slot is 16 synapses, one for each neuron of a block, all on one branch of 32 inputs. A 16-bit synapse word
is an IEEE half whose low five mantissa bits are the input's index within the branch; the index bits are part
of the value, so the other eleven bits are chosen for the whole word to be near to the weight. The word
0x0000 is padding and never a synapse: an active weight of zero at index 0 is -0. `docs/format/layers.md` lists the
arrays.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from operator import mul
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from sparbor.errors import ArgumentError
from sparbor.packing.words import Floats as Floats
from sparbor.packing.words import Words as Words
from sparbor.packing.words import balanced_words

NEURON_BLOCK = 16
BRANCH = 32
MAX_BRANCHES = 65535  # ids and counts of branches are 16-bit

FINITE_WANTED = ": the engine takes finite numbers; look for a loss that was not, or a batch norm whose variance is 0"

PADDING_INDEX = 0x80  # beside exact weights

Bools: TypeAlias = npt.NDArray[np.bool_]
Bytes: TypeAlias = npt.NDArray[np.uint8]
Counts: TypeAlias = npt.NDArray[np.int64]


class Encoding(str, Enum):
    """How a synapse is stored: a 16-bit word, an exact float and an index byte, or a byte and an index byte."""

    WORD16 = "word16"
    EXACT = "exact"
    INT8 = "int8"  # in quads: :mod:`sparbor.packing.quads`


# Those that `pack` takes, and dense weights have.
SLOT_ENCODINGS = (Encoding.WORD16, Encoding.EXACT)


@dataclass(frozen=True)
class SlotLayout:
    """Which branches each block of 16 neurons has, and how many slots, or quads, on each.

    A block's branches are ordered by their number of slots and listed as runs, so that the kernels' inner
    loops are of constant length for as long as possible.
    """

    runs_per_group: Words
    run_slots: Words
    run_branches: Words
    branches: Words

    @property
    def slots(self) -> int:
        return sum(map(mul, self.run_slots.data, self.run_branches.data))

    def slot_positions(self) -> tuple[Counts, Counts]:
        """The neuron block and the branch of each slot or quad, in stored order."""
        block_of_run = np.repeat(np.arange(len(self.runs_per_group)), self.runs_per_group)
        slots_of_branch = np.repeat(self.run_slots, self.run_branches)
        blocks = np.repeat(np.repeat(block_of_run, self.run_branches), slots_of_branch)
        return blocks, np.repeat(self.branches.astype(np.int64), slots_of_branch)


@dataclass(frozen=True)
class PackedSynapses:
    """A packed layer, whatever its synapses are stored as."""

    outputs: int
    fan_in: int
    layout: SlotLayout

    @property
    def padding(self) -> Bools:
        """Which of the places hold no synapse: (slots, 16), or (quads, 16, 4)."""
        raise NotImplementedError

    @property
    def active(self) -> int:
        padding = self.padding
        return padding.size - int(np.count_nonzero(padding))

    @property
    def padded(self) -> bool:
        """Whether a neuron has fewer synapses on a branch than its block has places."""
        padding = self.padding
        places = self.lanes(np.ones(self.outputs, np.bool_)).reshape(-1, NEURON_BLOCK, *[1] * (padding.ndim - 2))
        return bool(padding.any()) and bool((padding & places).any())

    def lanes(self, outputs: Bools) -> Bools:
        """Which of the 16 neurons of each slot or quad are one of these outputs."""
        whole = np.zeros((len(self.layout.runs_per_group), NEURON_BLOCK), np.bool_)
        whole.reshape(-1)[: len(outputs)] = outputs
        blocks, _ = self.layout.slot_positions()
        return np.asarray(whole[blocks])

    def _spread(self, rows: Counts, columns: Counts, values: Floats) -> tuple[Floats, Bools]:
        """The synapses' values as a matrix (outputs, fan_in), and its mask."""
        weight = np.zeros((self.outputs, self.fan_in), np.float32)
        mask = np.zeros(weight.shape, np.bool_)
        weight[rows, columns] = values
        mask[rows, columns] = True
        return weight, mask


@dataclass(frozen=True)
class SparseLayer(PackedSynapses):
    """A packed layer: `words` times their neuron's `scale`, or exact `weights` at `indices`."""

    words: Words | None
    weights: Floats | None
    indices: Bytes | None
    scale: Floats | None
    bias: Floats | None

    @property
    def encoding(self) -> Encoding:
        return Encoding.EXACT if self.words is None else Encoding.WORD16

    @property
    def padding(self) -> Bools:
        if self.words is not None:
            return np.equal(self.words, 0)
        assert self.indices is not None
        return np.equal(self.indices, PADDING_INDEX)

    def unpack(self) -> tuple[Floats, Bools]:
        """The (outputs, fan_in) weights that the engine computes with, and their mask."""
        blocks, branches = self.layout.slot_positions()
        slot, lane = np.nonzero(~self.padding)
        rows = blocks[slot] * NEURON_BLOCK + lane
        if self.words is not None:
            words = self.words[slot, lane]
            index: npt.NDArray[np.integer] = words % BRANCH
            values = words.view(np.float16).astype(np.float32)
        else:
            assert self.weights is not None
            assert self.indices is not None
            index, values = self.indices[slot, lane], self.weights[slot, lane]
        if self.scale is not None:
            values = values * self.scale[rows]
        return self._spread(rows, branches[slot] * BRANCH + index, values)

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """What is stored, by name."""
        stored = {name: getattr(self, name) for name in ("words", "weights", "indices", "scale", "bias")}
        return present(**vars(self.layout), **stored)


def present(**arrays: npt.NDArray[Any] | None) -> dict[str, npt.NDArray[Any]]:
    """The arrays that there are."""
    return {name: array for name, array in arrays.items() if array is not None}


def pack(weight: Floats, mask: Bools, bias: Floats | None = None, encoding: Encoding = Encoding.WORD16) -> SparseLayer:
    """Pack the weights that the mask keeps; any mask packs, slot-shaped ones without padding."""
    if encoding not in SLOT_ENCODINGS:
        raise ArgumentError(f"encoding={encoding.value!r}: slots are word16 or exact; pack_quads packs int8")
    check_layer(weight, mask, bias)
    outputs, fan_in = weight.shape
    rows, columns = np.nonzero(mask)
    layout, slot = place_synapses(weight.shape, rows, columns, BRANCH, 1)
    lane, index, values = rows % NEURON_BLOCK, columns % BRANCH, weight[rows, columns]
    if encoding is Encoding.EXACT:
        weights = np.zeros((layout.slots, NEURON_BLOCK), np.float32)
        indices = np.full(weights.shape, PADDING_INDEX, np.uint8)
        weights[slot, lane], indices[slot, lane] = values, index
        return SparseLayer(outputs, fan_in, layout, None, weights, indices, None, bias)
    scale = neuron_scale(np.where(mask, weight, np.float32(0)))
    words = np.zeros((layout.slots, NEURON_BLOCK), np.uint16)
    words[slot, lane] = balanced_words(values / scale[rows], index, rows)
    return SparseLayer(outputs, fan_in, layout, words, None, None, scale, bias)


def place_synapses(
    shape: tuple[int, ...], rows: Counts, columns: Counts, branch: int, each: int
) -> tuple[SlotLayout, Counts]:
    """The slots of a mask's synapses, in the order of `nonzero`; or their quads, of `each` synapses of a neuron.

    Returns the layout, and each synapse's place among the places of its neuron: slot · each and up.
    """
    outputs, fan_in = shape
    blocks, branches = -(-outputs // NEURON_BLOCK), -(-fan_in // branch)
    tile = rows * branches + columns // branch  # a neuron's part of a branch
    counts = np.bincount(tile, minlength=blocks * NEURON_BLOCK * branches)
    slots = -(-counts.reshape(blocks, NEURON_BLOCK, branches).max(axis=1) // each)
    layout, first_slot = _order_branches(slots)
    rank = np.arange(len(rows)) - (np.cumsum(counts) - counts)[tile]  # nonzero() lists a tile's synapses together
    return layout, first_slot[rows // NEURON_BLOCK, columns // branch] * each + rank


def neuron_scale(weight: Floats) -> Floats:
    """By neuron, the power of two that brings its largest weight to a bit below a half's largest.

    A neuron of zeros gets the least scale there is, which makes its index bits worth nothing.
    """
    largest = np.abs(weight).max(axis=1, initial=0)
    _, exponent = np.frexp(largest)
    exponent = np.where(largest > 0, exponent - 15, -126)
    return np.ldexp(np.float32(1), np.maximum(exponent, -126)).astype(np.float32)


def _order_branches(slots: Counts) -> tuple[SlotLayout, Counts]:
    """From the (block, branch) slot counts: the layout, and each (block, branch)'s first slot."""
    block, branch = np.nonzero(slots)
    count = slots[block, branch]
    order = np.lexsort((branch, count, block))
    block, branch, count = block[order], branch[order], count[order]
    first_slot = np.zeros(slots.shape, np.int64)
    first_slot[block, branch] = np.cumsum(count) - count

    starts_run = np.ones(len(count), np.bool_)
    starts_run[1:] = (count[1:] != count[:-1]) | (block[1:] != block[:-1])
    starts = np.flatnonzero(starts_run)
    layout = SlotLayout(
        runs_per_group=np.bincount(block[starts], minlength=len(slots)).astype(np.uint16),
        run_slots=count[starts].astype(np.uint16),
        run_branches=np.diff(starts, append=len(count)).astype(np.uint16),
        branches=branch.astype(np.uint16),
    )
    return layout, first_slot


def check_layer(weight: Floats, mask: Bools, bias: Floats | None, branch: int = BRANCH) -> None:
    """Refuse what is no layer's weight, mask and bias, and numbers that are not finite."""
    if weight.ndim != 2 or 0 in weight.shape:
        raise ArgumentError(f"weight has shape {weight.shape}: packing takes (outputs, fan_in), neither of them 0")
    if weight.dtype != np.float32 or mask.dtype != np.bool_:
        raise ArgumentError(f"weight is {weight.dtype} and mask {mask.dtype}: packing takes float32 and bool")
    if mask.shape != weight.shape:
        raise ArgumentError(f"mask has shape {mask.shape} and weight {weight.shape}: they must be equal")
    if bias is not None and (bias.shape != weight.shape[:1] or bias.dtype != np.float32):
        raise ArgumentError(f"bias is {bias.dtype} of shape {bias.shape}: it must be float32, one an output")
    if weight.shape[1] > MAX_BRANCHES * branch:
        raise ArgumentError(f"a fan-in of {weight.shape[1]} is too large: the format ends at {MAX_BRANCHES * branch}")
    for part, values in (("weight", weight[mask]), ("bias", bias)):
        if values is not None and not np.isfinite(values).all():
            where = " in an active place" if part == "weight" else ""
            raise ArgumentError(f"{part} holds NaN or infinity{where}{FINITE_WANTED}")


def not_finite(arrays: Mapping[str, npt.NDArray[np.generic]]) -> str | None:
    """The name of an array of floats in which some are NaN or infinite."""
    for name, array in arrays.items():
        if array.dtype == np.float32 and not np.isfinite(array).all():
            return name
    return None
