"""Which layers an operation cannot have, whatever it is exported to."""

from sparbor.errors import ArgumentError
from sparbor.packing.quads import QuadLayer
from sparbor.program.program import Program

# Of those inputs each row has a range of its own, or they are bytes already.
_WITH_BYTES = ("linear", "lstm", "gru", "rnn", "quantized_convolution")


def check_encodings(program: Program) -> None:
    """Refuse, by name, 8-bit layers of operations that have none: the engine, which does too, may not be built here."""
    for operation in program.operations:
        layer = program.layers.get(str(operation.layer))
        if isinstance(layer, QuadLayer) and operation.kind not in _WITH_BYTES:
            raise ArgumentError(
                f"layer {operation.layer!r} has weights 'int8', and the operation {operation.kind!r} takes none such:"
                " export a model of weights 'word16' or 'exact'"
            )
