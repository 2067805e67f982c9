"""Which layers no target has."""

from sparbor.errors import ArgumentError
from sparbor.packing.slots import Encoding
from sparbor.program.program import Program, is_matrix


def check_encodings(program: Program, target: str) -> None:
    """Refuse 8-bit layers, by name: what the engine computes of their inputs' bytes is in no target yet."""
    for name, layer in program.layers.items():
        if is_matrix(layer) and layer.encoding is Encoding.INT8:
            raise ArgumentError(
                f"layer {name!r} has weights 'int8', which the target {target} lacks: export a model of weights"
                " 'word16' or 'exact'"
            )
