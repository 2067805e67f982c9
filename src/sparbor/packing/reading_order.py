"""A convolution's weights in the order in which bytes are read, as quads want them; and back.

Quantized planes lie channels last: the channels of a pixel one after another, then those of the next pixel of its
row. So what a row of the kernel reads is one run of bytes, and that is where branches lie: kernel row by kernel row, in
it column by column, and of each all channels, also those of other groups. Each row is filled up to whole branches. If
dilation leaves out pixels between the columns, each column is a run of its own, and is filled up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from sparbor.errors import ArgumentError
from sparbor.packing.quads import QUAD_BRANCH

_Number = TypeVar("_Number", bound=np.generic)


@dataclass(frozen=True)
class ReadingOrder:
    """Of a convolution over so many `channels`, all groups together; pairs are (down, across)."""

    channels: int
    kernel: tuple[int, int]
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    @property
    def _runs(self) -> tuple[int, int]:
        """How many runs there are, and how many inputs each has."""
        rows, columns = self.kernel
        if columns > 1 and self.dilation[1] > 1:
            return rows * columns, self.channels
        return rows, columns * self.channels

    @property
    def fan_in(self) -> int:
        """The inputs of the layer, what fills rows up among them."""
        runs, inputs = self._runs
        return runs * -(-inputs // QUAD_BRANCH) * QUAD_BRANCH

    def matrix(self, weight: npt.NDArray[_Number]) -> npt.NDArray[_Number]:
        """A weight (outputs, channels / groups, kernel height, kernel width), or its mask, as (outputs, fan_in)."""
        self._check(weight.shape)
        outputs, own = weight.shape[:2]
        runs, inputs = self._runs
        spread = np.zeros((outputs, *self.kernel, self.groups, own), weight.dtype)
        output = np.arange(outputs)
        spread[output, :, :, output // (outputs // self.groups)] = weight.transpose(0, 2, 3, 1)
        matrix = np.zeros((outputs, runs, self.fan_in // runs), weight.dtype)
        matrix[:, :, :inputs] = spread.reshape(outputs, runs, inputs)
        return matrix.reshape(outputs, self.fan_in)

    def weight(self, matrix: npt.NDArray[_Number]) -> npt.NDArray[_Number]:
        """What :meth:`matrix` was given."""
        outputs, runs = len(matrix), self._runs[0]
        inputs = matrix.reshape(outputs, runs, -1)[:, :, : self._runs[1]]
        spread = inputs.reshape(outputs, *self.kernel, self.groups, self.channels // self.groups)
        output = np.arange(outputs)
        return spread[output, :, :, output // (outputs // self.groups)].transpose(0, 3, 1, 2)

    def _check(self, shape: tuple[int, ...]) -> None:
        wanted = (self.channels // self.groups, *self.kernel)
        if shape[1:] != wanted or self.channels % self.groups or shape[0] % self.groups:
            raise ArgumentError(
                f"weight has shape {shape}: a convolution with channels={self.channels}, kernel={self.kernel} and "
                f"groups={self.groups} has (outputs, {', '.join(map(str, wanted))}), and the groups divide outputs and "
                "channels"
            )
