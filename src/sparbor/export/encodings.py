"""Which layers an operation cannot have, whatever it is exported to."""

from sparbor.errors import ArgumentError
from sparbor.packing.slots import Encoding
from sparbor.program.program import Program, is_matrix

# Of those inputs each row has a range of its own, or they are bytes already.
_WITH_BYTES = ("linear", "lstm", "gru", "rnn", "quantized_convolution")


def check_encodings(program: Program) -> None:
    """Refuse, by name, 8-bit layers of operations that have none: the engine, which does too, may not be built here."""
    for operation in program.operations:
        layer = program.layers.get(str(operation.layer))
        in_bytes = is_matrix(layer) and layer.encoding is Encoding.INT8
        if in_bytes and operation.kind not in _WITH_BYTES:
            raise ArgumentError(
                f"layer {operation.layer!r} has weights 'int8', and the operation {operation.kind!r} takes none such:"
                " export a model of weights 'word16' or 'exact'"
            )
