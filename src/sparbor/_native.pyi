from typing import Any, overload

import numpy as np
import numpy.typing as npt
import torch

Array = npt.NDArray[Any]

def kernel_sets() -> list[str]: ...
def activations() -> dict[str, int]: ...
def operators() -> dict[str, tuple[int, str, str, dict[str, str]]]: ...
def check_model(content: bytes) -> str: ...
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

class RefusedError(ValueError):
    args: tuple[str, str]

class Model:
    def __init__(self, content: bytes, isa: str, threads: int) -> None: ...
    @overload
    def __call__(
        self, x: npt.NDArray[np.float32] | npt.NDArray[np.uint8], out: npt.NDArray[np.float32] | None = None
    ) -> npt.NDArray[np.float32]: ...
    @overload
    def __call__(self, x: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor: ...
    def tensors(self) -> dict[str, dict[str, Array]]: ...
    def look_at_floats(self, looks: bool) -> None: ...
    def run_checked(self, x: Array, out: Array | None) -> npt.NDArray[np.float32]: ...
    @property
    def graph(self) -> str: ...
    @property
    def input_shape(self) -> tuple[int, ...]: ...
    @property
    def output_shape(self) -> tuple[int, ...]: ...
    @property
    def takes_bytes(self) -> bool: ...
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
