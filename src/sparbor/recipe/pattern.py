"""Which weights are kept together: the patterns that masks can have, as plain data.

:mod:`sparbor.topology.units` makes masks of them.
"""

from dataclasses import dataclass
from typing import ClassVar

from sparbor.errors import ArgumentError
from sparbor.recipe.checks import check_counts, refusing_old_names


@dataclass(frozen=True)
class BlockPattern:
    """What slots and quads have in common: they are weights of a block of neurons, all on one branch of inputs.

    See :class:`Slots` for what a branch and a neuron block are. ``unit`` is the word for what is kept or dropped
    together, and ``synapses`` how many weights of each neuron that has. ``by_squares``: it is worth the mean of its
    scores' squares, not of the scores. ``channels_last``: in which order a convolution's inputs make branches.
    """

    unit: ClassVar[str]
    synapses: ClassVar[int]
    by_squares: ClassVar[bool]
    channels_last: ClassVar[bool]

    neuron_block: int
    branch: int

    def __post_init__(self) -> None:
        check_counts(type(self).__name__, neuron_block=self.neuron_block, branch=self.branch)

    def refuses(self, outputs: int, groups: int) -> str | None:
        """Why a layer with ``outputs`` neurons in ``groups`` convolution groups cannot have this pattern, if so."""
        if groups > 1 and outputs // groups < self.neuron_block:
            return f"{outputs // groups} outputs in each convolution group, a {self.unit} needs {self.neuron_block}"
        return None


@refusing_old_names({"group": "neuron_block"})
@dataclass(frozen=True)
class Slots(BlockPattern):
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

    unit: ClassVar[str] = "slot"
    synapses: ClassVar[int] = 1
    by_squares: ClassVar[bool] = False
    channels_last: ClassVar[bool] = False

    neuron_block: int = 16
    branch: int = 32


@refusing_old_names({"group": "neuron_block"})
@dataclass(frozen=True)
class Quads(BlockPattern):
    """The pattern of 8-bit layers: a quad is four weights for each of ``neuron_block`` neurons, all on one branch.

    It is made for ``deploy(..., weights="int8")``, whose kernels multiply four bytes of a neuron at once: a mask of
    quads is packed without padding. The j-th quad of a (neuron block, branch) pair holds each neuron's weights of the
    ranks 4j to 4j + 3 there, so what is said of :class:`Slots` holds for four slots at a time: all neurons of a block
    have equally many weights on a branch, a multiple of four, or every one of them. A quad is worth the mean of its
    scores' squares: its 64 weights differ more than a slot's 16, and what it costs to drop a weight goes by its square.

    Inputs are in the order in which the engine reads bytes. A convolution's are channels last: row by row of the
    kernel, and within a row column by column, each with all of its channels. Branches begin anew with each kernel row,
    and with each column where the kernel is dilated along its rows: the bytes of two columns then do not lie side by
    side. A linear layer that reads a convolution's flattened planes sees them channels last too, pixel by pixel, where
    that convolution's neurons may stand in another order; the deployed model turns them. Such branches keep more of the
    neurons' large weights than those of one channel's pixels would.

    Args:
        neuron_block: how many consecutive neurons share a quad. The engine's kernels are made for 16.
        branch: how many consecutive inputs the weights of a quad lie within. The engine's kernels are made for 64.

    Raises:
        ArgumentError: one of them is no whole number from 1 on, or ``branch`` is no multiple of 4.

    >>> Quads()
    Quads(neuron_block=16, branch=64)
    """

    unit: ClassVar[str] = "quad"
    synapses: ClassVar[int] = 4
    by_squares: ClassVar[bool] = True
    channels_last: ClassVar[bool] = True

    neuron_block: int = 16
    branch: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.branch % self.synapses:
            more = self.branch + -self.branch % self.synapses
            raise ArgumentError(f"Quads(branch={self.branch}): branch must be a multiple of 4, such as {more}")


@dataclass(frozen=True)
class NM:
    """N:M sparsity: at most ``n`` of every ``m`` consecutive inputs of a neuron (Mishra et al. 2021, for any n, m).

    While a schedule is still denser than ``n/m`` the quota is the smallest one that can hold its density. Where the
    quota falls, some windows have fewer weights left than it; others then get dropped weights back, so that the density
    is what the schedule says, with every method.

    Args:
        n: how many weights of a window are kept, at most.
        m: how many consecutive inputs make a window.

    Raises:
        ArgumentError: one of them is no whole number from 1 on, or ``n`` is larger than ``m``.

    >>> NM(2, 4)
    NM(n=2, m=4)
    """

    neuron_block: ClassVar[int] = 1  # each neuron's weights are kept by themselves
    unit: ClassVar[str] = "weight"
    synapses: ClassVar[int] = 1
    by_squares: ClassVar[bool] = False
    channels_last: ClassVar[bool] = False

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
    unit: ClassVar[str] = "weight"
    synapses: ClassVar[int] = 1
    by_squares: ClassVar[bool] = False
    channels_last: ClassVar[bool] = False


Pattern = Slots | Quads | NM | Unstructured
