"""Layers from a file: those are refused that would lead a kernel out of its arrays, or that no packing writes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import numpy as np

from sparbor.packing.damage import require
from sparbor.packing.dense_weights import DenseWeights
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
    """The runs of each group add up to the branches and slots that are stored."""
    topology = layer.topology
    for part in Topology.__dataclass_fields__:
        sound(getattr(topology, part).ndim == 1, f"{part} is not one row of numbers")
    runs, groups = len(topology.run_slots), -(-layer.outputs // GROUP)
    listed_groups = len(topology.runs_per_group)
    sound(listed_groups == groups, f"{listed_groups} groups listed, {groups} expected")
    sound(int(topology.runs_per_group.sum(dtype=np.int64)) == runs, "the groups' runs do not add up")
    branch_runs = len(topology.run_branches)
    sound(branch_runs == runs, f"{runs} runs of slots, but {branch_runs} of branches")
    few_slots = (topology.run_slots >= 1) & (topology.run_slots <= BRANCH)
    sound(few_slots.all(), "a run has no slots or more than 32")
    sound((topology.run_branches >= 1).all(), "a run has no branches")
    listed = int(topology.run_branches.sum(dtype=np.int64))
    sound(listed == len(topology.branches), f"{len(topology.branches)} branches listed, but runs have {listed}")
    inside = topology.branches < -(-layer.fan_in // BRANCH)
    sound(inside.all(), f"a branch lies beyond the fan-in {layer.fan_in}")
    stored = layer.padding.shape
    sound(stored == (topology.slots, GROUP), f"synapses have shape {stored}, but runs have {topology.slots} slots")
    group_of_run = np.repeat(np.arange(groups), topology.runs_per_group)
    placed = np.repeat(group_of_run, topology.run_branches) * 2**16 + topology.branches
    sound(len(np.unique(placed)) == listed, "a group lists a branch twice")


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
    padding = layer.padding
    groups, branches = layer.topology.slot_positions()
    last = np.flatnonzero(branches == layer.fan_in // BRANCH)
    stored_index = layer.indices if layer.words is None else layer.words
    assert stored_index is not None
    index = stored_index[last] % BRANCH
    sound((padding[last] | (index < layer.fan_in % BRANCH)).all(), "an index lies beyond the fan-in")
    beyond = ~padding[groups == layer.outputs // GROUP, layer.outputs % GROUP :]
    sound(not beyond.any(), "a synapse belongs to a neuron beyond the outputs")
