"""Layers from a file: those are refused that would lead a kernel out of its arrays, or that no packing writes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import islice
from operator import mul
from typing import TypeAlias

import numpy as np

from sparbor.packing.dense_weights import DenseWeights
from sparbor.packing.file_checks import require
from sparbor.packing.slots import BRANCH, GROUP, Floats, SparseLayer, Topology

Sound: TypeAlias = Callable[[bool | np.bool_, str], None]


def check_dense(name: str, layer: DenseWeights) -> None:
    """Raise ModelFileError for halves that are not finite, and for scales that cannot be."""
    sound = partial(_require, name)
    if layer.scale is not None:
        sound(np.isfinite(layer.stored).all(), "a weight is infinite or NaN")
        _check_scale(sound, layer.scale)


def check_sparse(name: str, layer: SparseLayer) -> None:
    """Raise ModelFileError for runs that do not add up, and for synapses that are not finite or lie outside."""
    sound = partial(_require, name)
    _check_topology(sound, layer)
    _check_synapses(sound, layer)
    _check_edges(sound, layer)


def _require(name: str, holds: bool | np.bool_, fault: str) -> None:
    require(holds, f"layer {name!r}: {fault}")


def _check_scale(sound: Sound, scale: Floats) -> None:
    sound((np.isfinite(scale) & (scale > 0)).all(), "a neuron's scale is not a positive number")


def _check_topology(sound: Sound, layer: SparseLayer) -> None:
    """The runs of each group add up to the branches and slots that are stored.

    Counts are summed and compared one by one, without NumPy: there are few, and each of its functions that is called
    for the first time brings 64 KB of code into memory or more, as much as a whole model.
    """
    topology = layer.topology
    for part in Topology.__dataclass_fields__:
        sound(getattr(topology, part).ndim == 1, f"{part} is not one row of numbers")
    runs_per_group, run_slots, run_branches, branches = (
        getattr(topology, part).data for part in Topology.__dataclass_fields__
    )
    runs, groups, branches_there_are = len(run_slots), -(-layer.outputs // GROUP), -(-layer.fan_in // BRANCH)
    sound(len(runs_per_group) == groups, f"{len(runs_per_group)} groups listed, {groups} expected")
    sound(sum(runs_per_group) == runs, "the groups' runs do not add up")
    sound(len(run_branches) == runs, f"{runs} runs of slots, but {len(run_branches)} of branches")
    sound(all(1 <= slots <= BRANCH for slots in run_slots), "a run has no slots or more than 32")
    sound(all(run_branches), "a run has no branches")
    listed = sum(run_branches)
    sound(listed == len(branches), f"{len(branches)} branches listed, but runs have {listed}")
    inside = all(branch < branches_there_are for branch in branches)
    sound(inside, f"a branch lies beyond the fan-in {layer.fan_in}")
    stored = layer.padding.shape
    sound(stored == (topology.slots, GROUP), f"synapses have shape {stored}, but runs have {topology.slots} slots")
    begin, left_of_runs = 0, iter(run_branches)
    for runs_of_group in runs_per_group:
        end = begin + sum(islice(left_of_runs, runs_of_group))
        once = end - begin <= branches_there_are and len(set(branches[begin:end])) == end - begin
        sound(once, "a group lists a branch twice")
        begin = end


def _check_synapses(sound: Sound, layer: SparseLayer) -> None:
    """Each index lies in its branch, each number is finite."""
    if layer.indices is not None:
        sound((layer.padding | (layer.indices < BRANCH)).all(), "an index lies beyond its branch")
    if layer.words is not None:
        sound(np.isfinite(layer.words.view(np.float16)).all(), "a synapse word is infinite or NaN")
    if layer.scale is not None:
        _check_scale(sound, layer.scale)


def _check_edges(sound: Sound, layer: SparseLayer) -> None:
    """The last branch and the last group may be partly filled: nothing lies in what is left of them."""
    topology, padding = layer.topology, layer.padding
    inputs, neurons = layer.fan_in % BRANCH, layer.outputs % GROUP
    if neurons:
        runs = len(topology.run_slots) - int(topology.runs_per_group[-1])
        slots = sum(map(mul, topology.run_slots[runs:].data, topology.run_branches[runs:].data))
        beyond = padding[len(padding) - slots :, neurons:]
        sound(beyond.all(), "a synapse belongs to a neuron beyond the outputs")
    if inputs:
        last = np.repeat(np.equal(topology.branches, layer.fan_in // BRANCH), topology.slots_of_branches())
        stored_index = layer.indices if layer.words is None else layer.words
        assert stored_index is not None
        inside = stored_index[last] % BRANCH < inputs
        sound((padding[last] | inside).all(), "an index lies beyond the fan-in")
