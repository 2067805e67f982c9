"""The C code of a program while it is put together: functions, constants, and the calls in their order."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources

from sparbor.export.c.constants import Constants

# Which files under `parts/` the others need before them.
_NEEDS: Mapping[str, tuple[str, ...]] = {
    "linear_sparse_words": ("slot_sums", "store_group", "sparse_words"),
    "linear_padded_words": ("half", "store_group", "sparse_words"),
    "slot_sums": ("half",),
    "linear_sparse_int8": ("sparse_int8", "to_bytes", "row_scales"),
    "linear_dense_int8": ("dense_int8", "to_bytes", "row_scales"),
    "to_bytes": ("nearest",),
    "byte_of": ("nearest",),
    "quantize": ("byte_of",),
    "rounded_byte": ("byte_ending",),
    "store_bytes": ("rounded_byte", "byte_of"),
    "end_sums": ("store_bytes",),
    "take_patch": ("byte_window",),
    "quantized_sparse": ("sparse_int8", "take_patch", "end_sums"),
    "quantized_dense": ("dense_int8", "take_patch", "end_sums"),
    "quantized_max_pool": ("byte_window",),
    "quantized_average_pool": ("byte_window", "store_bytes"),
    "quantized_add": ("store_bytes",),
    "quantized_copy": ("rounded_byte",),
    "quantized_map": ("byte_ending", "byte_of"),
    "quantized_scale": ("rounded_byte",),
    "linear_sparse_exact": ("store_group", "sparse_exact"),
    "linear_dense_halves": ("half", "store_group", "dense_halves"),
    "linear_dense_exact": ("store_group", "dense_exact"),
    "convolution_sparse_words": ("half", "fill", "scale_shift", "add_place", "sparse_words"),
    "convolution_sparse_exact": ("fill", "add_place", "sparse_exact"),
    "convolution_dense_halves": ("half", "fill", "scale_shift", "add_place", "dense_halves"),
    "convolution_dense_exact": ("fill", "add_place", "dense_exact"),
    "add_place": ("window",),
    "max_pool": ("fill", "window"),
    "average_pool": ("fill", "add_place"),
    "adaptive_max_pool": ("planes",),
    "adaptive_average_pool": ("planes", "sum"),
    "scale_shift_channels": ("scale_shift",),
    "layer_norm": ("sum",),
    "softmax": ("sum",),
}


class Code:
    """What will stand in the C file."""

    def __init__(self) -> None:
        self.constants = Constants()
        self.calls: list[str] = []
        self.scratch = 0  # bytes that an operation may use while it runs
        self._parts: dict[str, None] = {}  # in the order in which C needs them

    def call(self, function: str, *arguments: str | int) -> None:
        """Call a function of `parts/`."""
        self.calls.append(self.called(function, *arguments))

    def called(self, function: str, *arguments: str | int) -> str:
        """The text of such a call, which then stands elsewhere."""
        self.require(function)
        return f"{function}({', '.join(map(str, arguments))});"

    def scratch_of(self, count: int) -> str:
        """The C expression of so many bytes, which keep nothing from one operation to the next."""
        self.scratch = max(self.scratch, count)
        return "scratch"

    def require(self, part: str) -> None:
        """Take over a part, after those that it needs."""
        for needed in _NEEDS.get(part, ()):
            self.require(needed)
        self._parts[part] = None

    def functions(self) -> list[str]:
        """The texts of the parts taken over."""
        folder = resources.files("sparbor.export.c") / "parts"
        return [(folder / f"{part}.c").read_text("ascii") for part in self._parts]
