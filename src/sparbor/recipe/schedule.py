"""When a layer is dense, how dense it is after that, and when its topology changes: pure functions of the step.

A *step* counts optimizer steps that are done. The plan of a run: dense warm-up (neuron mode), then sparsity rises
along a cubic curve (Zhu & Gupta 2017, "To prune, or not to prune"), then the topology keeps being rewired with a
shrinking drop fraction (Evci et al. 2020, "Rigging the Lottery") until it rests.
"""

import math
from dataclasses import dataclass

from sparbor.errors import ArgumentError

NEVER = -1  # the step at which what does not happen happens
SHORT_RUN = 400  # from here on rewirings have the usual interval, however long the ramp is


@dataclass(frozen=True)
class Schedule:
    """The plan in shares of a run, so that one schedule fits every length.

    The density after step ``s`` of ``T`` is ``1 - p * sparsity``, where ``p = 1 - (1 - t)^3`` and ``t`` goes from 0 at
    ``warmup * T`` to 1 at ``ramp_end * T`` (Zhu & Gupta 2017). The share of active weights that a rewiring exchanges is
    ``drop_fraction / 2 * (1 + cos(pi * t))``, where ``t`` goes from 0 at ``warmup * T`` to 1 at ``rewire_end * T``
    (Evci et al. 2020).

    Args:
        warmup: dense until this share of the steps, or, in a model that has masks already, under these masks as they
            are; at most 1/3.
        ramp_end: the final sparsity is reached here; at most 0.75.
        rewire_end: the topology rests from here on.
        interval: steps between two rewirings. ``None`` takes a hundredth of the run, between 10 and 100 steps, and in
            runs of fewer than 400 steps a tenth of the ramp if that is less.
        drop_fraction: the share of active weights that the first rewirings exchange.

    Raises:
        ArgumentError: a share is out of range, or ``interval`` is no whole number from 1 on.

    >>> Schedule(warmup=0.2).over(total_steps=1000).switch
    200
    """

    warmup: float = 0.1
    ramp_end: float = 0.75
    rewire_end: float = 0.85
    interval: int | None = None
    drop_fraction: float = 0.1

    def __post_init__(self) -> None:
        for name, low, high in (
            ("warmup", 0.0, 1 / 3),
            ("ramp_end", self.warmup, 0.75),
            ("rewire_end", self.ramp_end, 1.0),
            ("drop_fraction", 0.0, 1.0),
        ):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or not low <= value <= high:
                raise ArgumentError(f"Schedule({name}={value!r}): {name} must lie between {low:.4g} and {high:.4g}")
        if self.interval is not None and (not isinstance(self.interval, int) or self.interval < 1):
            raise ArgumentError(
                f"Schedule(interval={self.interval!r}): interval must be a whole number of at least 1 step, or None"
            )

    def over(self, total_steps: int) -> "Timeline":
        """This plan laid over a run of ``total_steps``."""
        if not isinstance(total_steps, int) or total_steps < 1:
            raise ArgumentError(f"total_steps={total_steps!r}: must be a whole number of at least 1 optimizer step")
        switch, ramp_end = int(self.warmup * total_steps), int(self.ramp_end * total_steps)
        return Timeline(
            switch=switch,
            ramp_end=ramp_end,
            rewire_end=int(self.rewire_end * total_steps),
            interval=self.interval or _interval(total_steps, ramp_end - switch),
            drop_fraction=self.drop_fraction,
        )


def _interval(total_steps: int, ramp: int) -> int:
    """Steps between two rewirings of a run with so many steps from the switch to the final sparsity."""
    usual = min(max(total_steps // 100, 10), 100)
    if total_steps >= SHORT_RUN or ramp == 0:
        return usual
    return min(usual, max(1, ramp // 10))  # else most of the sparsity would come at once


@dataclass(frozen=True)
class Timeline:
    """A schedule in steps. ``switch`` is the step after which the layers are in dendrite mode."""

    switch: int
    ramp_end: int
    rewire_end: int
    interval: int
    drop_fraction: float

    def progress(self, step: int) -> float:
        """The share of the final sparsity that holds after ``step``: ``1 - (1 - t)^3``, t from 0 to 1 over the ramp."""
        if step >= self.ramp_end:
            return 1.0
        if step <= self.switch:
            return 0.0
        return 1.0 - (1.0 - (step - self.switch) / (self.ramp_end - self.switch)) ** 3

    def drop(self, step: int) -> float:
        """The share of active weights exchanged after ``step``: ``drop_fraction / 2 * (1 + cos(pi t))``."""
        if not self.switch <= step < self.rewire_end:
            return 0.0
        return self.drop_fraction / 2 * (1 + math.cos(math.pi * (step - self.switch) / (self.rewire_end - self.switch)))

    def rewires(self, step: int) -> bool:
        """Whether the topology changes after ``step``."""
        if step == self.ramp_end:
            return True
        return self.switch <= step < self.rewire_end and (step - self.switch) % self.interval == 0

    @property
    def reorders(self) -> int | None:
        """The step after which neurons are put in order: the first change of topology that has a batch before it.

        Where all synapses are chosen before the first batch it is none: for those there are, the order is a good one.
        """
        if self.ramp_end == 0:
            return None
        return next((step for step in range(max(1, self.switch), self.rewire_end + 1) if self.rewires(step)), None)
