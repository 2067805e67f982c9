"""Which layers no target has."""

from sparbor.errors import ArgumentError
from sparbor.packing.quads import QuadLayer
from sparbor.program.program import Program


def check_encodings(program: Program, target: str) -> None:
    """Refuse 8-bit layers, by name: what the engine computes of their inputs' bytes is in no target yet."""
    for name, layer in program.layers.items():
        if isinstance(layer, QuadLayer):
            raise ArgumentError(
                f"layer {name!r} has weights 'int8', which the target {target} lacks: export a model of weights"
                " 'word16' or 'exact'"
            )
