"""What is made of a layer's mask, and kept for as long as the mask stays as it is."""

import torch
from torch import Tensor

from sparbor.distributed.shards import held_part
from sparbor.nn.active_weights import positions_of
from sparbor.nn.masking import bits_of
from sparbor.synapses.lists import ConvParams, Synapses


class MaskFacts:
    """How many weights are active, where they lie, and what kernels go by; each is made when it is first asked for.

    The mask is passed every time: a module may be given another tensor as its mask, or have its own changed in place.
    """

    _active: int | None
    _bits: tuple[torch.dtype, Tensor] | None
    _positions: Tensor | None
    _synapses: Synapses | None

    def __init__(self) -> None:
        self._seen: tuple[int, int] | None = None
        self._forget()

    def overwritten(self, mask: Tensor, positions: Tensor | None) -> None:
        """The mask has new values, of which the positions of the active weights may be known already."""
        self._forget()
        self._seen = _version(mask)
        self._positions = positions

    def active(self, mask: Tensor) -> int:
        """How many weights the mask keeps."""
        self._notice(mask)
        if self._active is None:
            self._active = int(mask.count_nonzero())  # tens of times as fast as the sum of a bool tensor
        return self._active

    def positions(self, mask: Tensor) -> Tensor:
        """Where the active weights lie in the flattened weight, in order."""
        self._notice(mask)
        if self._positions is None:
            self._positions = positions_of(mask)
        return self._positions

    def bits(self, mask: Tensor, weight: Tensor) -> Tensor:
        """What the ``weight`` keeps of its bits (see :func:`bits_of`), of the part that this rank holds."""
        self._notice(mask)
        if self._bits is None or self._bits[0] != weight.dtype or self._bits[1].device != weight.device:
            self._bits = weight.dtype, bits_of(held_part(mask, weight), weight.dtype)
        return self._bits[1]

    def synapses(self, mask: Tensor, params: ConvParams) -> Synapses:
        """The mask as training's kernels walk through it, in a layer whose kernel moves like this."""
        positions = self.positions(mask)
        if self._synapses is None:
            self._synapses = Synapses(positions, mask.shape, params)
        return self._synapses

    def tensors(self) -> list[Tensor]:
        """All that has been made of the mask so far."""
        made = [self._bits[1] if self._bits else None, self._positions]
        made += self._synapses.tensors() if self._synapses else []
        return [each for each in made if each is not None]

    def _notice(self, mask: Tensor) -> None:
        if _version(mask) != self._seen:
            self._seen = _version(mask)
            self._forget()

    def _forget(self) -> None:
        self._active = self._bits = self._positions = self._synapses = None


def _version(mask: Tensor) -> tuple[int, int]:
    return id(mask), 0 if mask.is_inference() else mask._version
