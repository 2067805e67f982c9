"""Which weights are kept together: the patterns that masks can have, as plain data.

:mod:`sparbor.topology.units` makes masks of them.
"""

from dataclasses import dataclass
from typing import ClassVar

from sparbor.errors import ArgumentError
from sparbor.recipe.checks import check_counts, refusing_old_names


@refusing_old_names({"group": "neuron_block"})
@dataclass(frozen=True)
class Slots:
    """Sparbor's own pattern: a slot is one weight for each of ``neuron_block`` neurons, all on one branch of inputs.

    A layer's weight is seen as a matrix (outputs, fan-in); a convolution's fan-in is its input channels times the size
    of its kernel. On each branch (``branch`` consecutive inputs) every neuron sorts its weights by score; the j-th slot
    of a (neuron block, branch) pair holds each neuron's j-th best weight there and is worth their mean. Worth falls
    with j, so slots are taken in order, and all neurons of a block have equally many weights on a branch. Blocks and
    branches at the edge of the matrix may be partly filled: only their real weights count.

    Args:
        neuron_block: how many consecutive neurons share a slot. The engine's kernels are made for 16.
        branch: how many consecutive inputs the weights of a slot lie within. The engine's kernels are made for 32.

    Raises:
        ArgumentError: one of them is no whole number from 1 on.

    >>> Slots()
    Slots(neuron_block=16, branch=32)
    """

    neuron_block: int = 16
    branch: int = 32

    def __post_init__(self) -> None:
        check_counts("Slots", neuron_block=self.neuron_block, branch=self.branch)

    def refuses(self, outputs: int, groups: int) -> str | None:
        """Why a layer with ``outputs`` neurons in ``groups`` convolution groups cannot have this pattern, if so."""
        if groups > 1 and outputs // groups < self.neuron_block:
            return f"{outputs // groups} outputs in each convolution group, a slot needs {self.neuron_block}"
        return None


@dataclass(frozen=True)
class NM:
    """N:M sparsity: at most ``n`` of every ``m`` consecutive inputs of a neuron (Mishra et al. 2021, for any n, m).

    While a schedule is still denser than ``n/m`` the quota is the smallest one that can hold its density.

    Args:
        n: how many weights of a window are kept, at most.
        m: how many consecutive inputs make a window.

    Raises:
        ArgumentError: one of them is no whole number from 1 on, or ``n`` is larger than ``m``.

    >>> NM(2, 4)
    NM(n=2, m=4)
    """

    neuron_block: ClassVar[int] = 1  # each neuron's weights are kept by themselves

    n: int
    m: int

    def __post_init__(self) -> None:
        check_counts("NM", n=self.n, m=self.m)
        if self.n > self.m:
            raise ArgumentError(f"NM(n={self.n}, m={self.m}): n must be at most m; swap them or lower n")


@dataclass(frozen=True)
class Unstructured:
    """No pattern: every weight stands for itself, and is kept or dropped by its own score.

    The engine runs such a model too, in more time and room than one of slots, since slots have to be padded.

    >>> Unstructured()
    Unstructured()
    """

    neuron_block: ClassVar[int] = 1


Pattern = Slots | NM | Unstructured
