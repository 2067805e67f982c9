"""In which order a model calls its layers, and which of them read the very same input: one run of the dense model."""

import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor, nn

from sparbor.oneshot.rows import geometry
from sparbor.oneshot.targets import SparseLayer
from sparbor.oneshot.watching import Watcher


@dataclass
class Discovery:
    """``groups``: layers in the order of their first calls, those together that read the very same rows.

    ``calls``: how often a plain layer is called in one run.
    """

    groups: list[list[SparseLayer]] = field(default_factory=list)
    calls: dict[nn.Module, int] = field(default_factory=dict)


def discover(watcher: Watcher, layers: Sequence[SparseLayer]) -> Discovery:
    """Run the dense model through the first batch and watch its layers; those that it does not call are in no group."""
    found, inputs = Discovery(), _Inputs()
    owner = {holder: layer for layer in layers for holder in layer.holders}
    read: dict[SparseLayer, list[int]] = {}

    def seen(holder: nn.Module, x: Tensor, _: Tensor) -> None:
        found.calls[holder] = found.calls.get(holder, 0) + 1
        read.setdefault(owner[holder], []).append(inputs.number(x))

    watcher.run(0, next(iter(watcher.batches)), owner, seen, {})
    together: dict[tuple[object, ...], list[SparseLayer]] = {}
    for layer, numbers in read.items():
        tied = layer if len(layer.holders) > 1 else None
        together.setdefault((tied, geometry(layer.layer), *numbers), []).append(layer)
    found.groups = list(together.values())
    return found


class _Inputs:
    """Numbers for tensors: the same one for the same tensor, as long as nobody has changed what is in it."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], tuple[weakref.ref[Tensor], int]] = {}
        self._count = 0

    def number(self, x: Tensor) -> int:
        """That of this tensor."""
        key = id(x), 0 if x.is_inference() else x._version
        known = self._known.get(key)
        if known is None or known[0]() is not x:  # another one may have taken the place of one that has gone
            self._count += 1
            known = self._known[key] = weakref.ref(x), self._count
        return known[1]
