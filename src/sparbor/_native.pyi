from typing import Any, overload

import numpy as np
import numpy.typing as npt
import torch

Array = npt.NDArray[Any]
Activation = tuple[str, float, float]

def kernel_sets() -> list[str]: ...
def activations() -> list[str]: ...
def takes_tiles(geometry: list[int]) -> bool: ...
def rank_slots(
    workers: tuple[str, int, int], scores: Array, blocks: int, group: int, ranks: Array, worth: Array
) -> None: ...
def list_synapses(
    positions: Array,
    shape: tuple[int, ...],
    dilation: tuple[int, int],
    groups: int,
    inputs: tuple[int, int, int],
    slopes: tuple[int, int, int],
    bounds: Array,
    pixels: Array,
    back_bounds: Array,
    back_pixels: Array,
    order: Array,
) -> None: ...
def turn_into_lanes(
    workers: tuple[str, int, int], x: Array, margin: tuple[int, int], planes: Array, channels_last: bool
) -> None: ...
def sum_synapses(
    workers: tuple[str, int, int],
    bounds: Array,
    inputs: Array,
    positions: Array | None,
    weights: Array,
    bias: Array | None,
    x: Array,
    y: Array,
    channels_last: bool,
) -> None: ...
def add_synapse_gradients(
    workers: tuple[str, int, int],
    bounds: Array,
    inputs: Array,
    x: Array,
    dy: Array,
    margin: tuple[int, int],
    gradients: Array,
    channels_last: bool,
) -> None: ...

class Model:
    def __init__(self, isa: str, threads: int, item_in: list[int], item_out: list[int]) -> None: ...
    @overload
    def __call__(
        self, x: npt.NDArray[np.float32] | npt.NDArray[np.uint8], out: npt.NDArray[np.float32] | None = None
    ) -> npt.NDArray[np.float32]: ...
    @overload
    def __call__(self, x: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor: ...
    def add_value(self, buffer: int, rows: int, features: int) -> int: ...
    def sparse_linear(
        self,
        x: int,
        y: int,
        runs_per_group: Array,
        run_slots: Array,
        run_branches: Array,
        branches: Array,
        words: Array | None,
        weights: Array | None,
        indices: Array | None,
        scale: Array | None,
        bias: Array | None,
        padded: bool,
        relu: bool,
        activation: Activation | None,
    ) -> None: ...
    def dense_linear(
        self,
        x: int,
        y: int,
        panels: Array | None,
        halves: Array | None,
        scale: Array | None,
        bias: Array | None,
        relu: bool,
        activation: Activation | None,
    ) -> None: ...
    def sparse_conv(
        self,
        x: int,
        y: int,
        geometry: list[int],
        runs_per_group: Array,
        run_slots: Array,
        run_branches: Array,
        branches: Array,
        words: Array | None,
        weights: Array | None,
        indices: Array | None,
        scale: Array | None,
        bias: Array | None,
        padded: bool,
        relu: bool,
        activation: Activation | None,
    ) -> None: ...
    def dense_conv(
        self,
        x: int,
        y: int,
        geometry: list[int],
        weights: Array | None,
        halves: Array | None,
        scale: Array | None,
        bias: Array | None,
        relu: bool,
        activation: Activation | None,
    ) -> None: ...
    def pool(self, x: int, y: int, geometry: list[int], kind: str, count_include_pad: bool, divisor: float) -> None: ...
    def adaptive_pool(self, x: int, y: int, geometry: list[int], kind: str) -> None: ...
    def concat(self, inputs: list[int], y: int) -> None: ...
    def layer_norm(self, x: int, y: int, scale: Array | None, shift: Array | None, epsilon: float) -> None: ...
    def channel_scale_shift(self, x: int, y: int, scale: Array, shift: Array) -> None: ...
    def set_byte_input(self, scale: Array, shift: Array) -> None: ...
    def look_at_floats(self, looks: bool) -> None: ...
    def run_checked(self, x: Array, out: Array | None) -> npt.NDArray[np.float32]: ...
    def apply(self, x: int, y: int, activation: Activation) -> None: ...
    def add(
        self, left: int, right: int, sum: int, relu: bool = False, activation: Activation | None = None
    ) -> None: ...
    def scale_shift(self, x: int, y: int, scale: Array, shift: Array) -> None: ...
    def softmax(self, x: int, y: int) -> None: ...
    def reshape(self, x: int, y: int) -> None: ...
    def finish(self, input: int, output: int) -> None: ...
    @property
    def workspace_bytes(self) -> int: ...
    @property
    def item_bytes(self) -> int: ...
    @property
    def scratch_bytes(self) -> int: ...
    @property
    def isa(self) -> str: ...
    @property
    def threads(self) -> int: ...
