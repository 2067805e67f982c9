"""Where the synapses of a deployed model lie: of each layer a coarse map, and which pixels of the image it reads."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparbor.errors import StateError
from sparbor.packing.filters import real_rows
from sparbor.packing.slots import BRANCH, NEURON_BLOCK, Bools, Counts, PackedSynapses
from sparbor.program.program import Program, is_matrix
from sparbor.program.windows import Window

MOST_ROWS, MOST_COLUMNS = 64, 128


@dataclass(frozen=True)
class SynapseMap:
    """Synapses of one layer.

    ``tiles`` counts them in tiles of ``neurons`` x ``inputs``. ``pixels`` ``(planes, height, width)`` counts them for
    each pixel of the image that the layer reads; ``None`` for other layers. ``synapses_of_inputs`` and ``_of_neurons``
    count them for each input and neuron.
    """

    name: str
    tiles: Counts
    neurons: int
    inputs: int
    pixels: Counts | None
    synapses_of_inputs: Counts
    synapses_of_neurons: Counts


def synapse_maps(program: Program) -> list[SynapseMap]:
    """A map of each layer, in order of use."""
    reading = _readings_of_the_image(program)
    maps: dict[str, SynapseMap] = {}
    for operation in program.operations:
        layer = program.layers[operation.layer] if operation.layer is not None else None
        if operation.layer is None or not is_matrix(layer):
            continue
        weight, mask = layer.unpack()
        active: Bools = mask if isinstance(layer, PackedSynapses) else weight != 0  # a dense one keeps no mask
        image, groups = reading.get(operation.inputs[0]) if operation.kind == "linear" else None, 1
        if isinstance(operation.settings, Window) and operation.kind == "convolution":
            groups = operation.settings.groups
        real = active if groups == 1 else active[real_rows(program.item(operation.output)[0], groups)]
        maps[operation.layer] = _map_of(operation.layer, active, real, image)
    return list(maps.values())


def check_same_run(maps: Sequence[SynapseMap], metrics: dict[str, Any], where: str) -> None:
    """Refuse the maps of a model that is not the one of the metrics."""
    deployed = {layer["name"]: layer["active"] for layer in metrics["deployed"]["layers"]}
    counted = {each.name: int(each.synapses_of_neurons.sum()) for each in maps}
    if deployed != counted:
        name = next(name for name in {**deployed, **counted} if deployed.get(name) != counted.get(name))
        raise StateError(
            f"{where} is of another run: layer {name!r} has {counted.get(name, 'no')} synapses, and"
            f" {deployed.get(name, 'none')} by the metrics; put the model of the same run there, or move it away"
        )


def _readings_of_the_image(program: Program) -> dict[int, tuple[int, ...]]:
    """Values that are the image's pixels in their order, and the shape of the image."""
    image = program.item(program.input)
    if len(image) not in (2, 3):
        return {}
    values = {program.input}
    for operation in program.operations:
        if operation.kind == "reshape" and operation.inputs[0] in values:
            values.add(operation.output)
    shape = image if len(image) == 3 else (1, *image)
    return {value: shape for value in values if len(program.item(value)) == 1}


def _map_of(name: str, active: Bools, real: Bools, image: tuple[int, ...] | None) -> SynapseMap:
    of_inputs = active.sum(axis=0)
    rows = _at_most(MOST_ROWS, len(active), NEURON_BLOCK)
    columns = _at_most(MOST_COLUMNS, active.shape[1], BRANCH)
    tiles = np.add.reduceat(active, range(0, len(active), rows), axis=0, dtype=np.int64)
    tiles = np.add.reduceat(tiles, range(0, active.shape[1], columns), axis=1)
    pixels = None if image is None else of_inputs.reshape(image)
    return SynapseMap(name, tiles, rows, columns, pixels, of_inputs, real.sum(axis=1))


def _at_most(most: int, size: int, unit: int) -> int:
    """The size of tiles, a multiple of ``unit``, of which ``most`` cover ``size``."""
    return unit * -(-size // (unit * most))
