"""The C code of a program while it is put together: functions, constants, and the calls in their order."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources

from sparbor.export.c.constants import Constants

# Which files under `parts/` the others need before them.
_NEEDS: Mapping[str, tuple[str, ...]] = {
    "linear_sparse_words": ("half", "store_group", "sparse_words"),
    "linear_padded_words": ("half", "store_group", "sparse_words"),
    "linear_sparse_int8": ("sparse_int8", "to_bytes", "add_quad"),
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
        self.require(function)
        self.calls.append(f"{function}({', '.join(map(str, arguments))});")

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
