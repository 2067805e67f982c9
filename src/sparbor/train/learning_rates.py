"""How far an optimizer's learning rates have fallen, and whether they leave time to train after weights are dropped."""

import warnings

from torch import nn
from torch.optim import Optimizer

USED_UP = 0.01  # of the largest rate: what is dropped at less cannot be made up for


class LearningRates:
    """The rates of an optimizer's parameter groups, as shares of the largest that each group has had.

    ``peaks`` are these largest ones, which resuming needs. ``settled`` is the step at which the last weights are
    dropped.
    """

    def __init__(self, optimizer: Optimizer, settled: int) -> None:
        self.peaks: list[float] = []
        self._optimizer = optimizer
        self._settled = settled
        self._shares: list[float] = []
        self._warned = False

    def see(self) -> None:
        """A step begins: schedulers have set its rates."""
        groups = self._optimizer.param_groups
        rates = [float(group.get("lr", 1.0)) for group in groups]  # an optimizer of one's own may have none
        earlier = self.peaks + [0.0] * (len(rates) - len(self.peaks))
        self.peaks = [max(pair) for pair in zip(rates, earlier, strict=True)]
        self._shares = [rate / peak if peak > 0 else 1.0 for rate, peak in zip(rates, self.peaks, strict=True)]

    def share(self, parameter: nn.Parameter) -> float:
        """The rate of the parameter's group over the largest it has had; 1 for one that no group holds."""
        for group, share in zip(self._optimizer.param_groups, self._shares, strict=True):
            if any(each is parameter for each in group["params"]):
                return share
        return 1.0

    def check_falls_in_time(self, step: int) -> None:
        """Warn, once, where the schedule of the rates ends before weights are dropped for the last time."""
        if self._warned or step >= self._settled or not self._shares or max(self._shares) > USED_UP:
            return
        self._warned = True
        warnings.warn(
            f"after {step:,} steps the learning rate is down to {max(self._shares):.2g} of its largest, but weights are"
            f" dropped until step {self._settled:,}, and nothing makes up for those any more: pass the steps of the"
            " learning rate's schedule as total_steps to sparbor.perforate(), or end the ramp earlier with"
            " Recipe(schedule=Schedule(ramp_end=...))",
            UserWarning,
            stacklevel=2,
        )
