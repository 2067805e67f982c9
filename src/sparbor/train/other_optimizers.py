"""Whether another optimizer trains a model than the one that was perforated: nothing would tell the schedule of it."""

import warnings

from sparbor.nn.masked_layer import MaskedLayer

CHANGES = 3  # whoever clips, averages or loads weights changes them once or twice between two steps


class OtherOptimizers:
    """Counts how often weights have changed from one backward pass to the next since the perforated optimizer stepped.

    ``until`` is the step from which on the schedule changes nothing: who fine-tunes after that is free to do so.
    """

    def __init__(self, until: int, total_steps: int) -> None:
        self.until = until
        self.total_steps = total_steps
        self.warned = False
        self._seen: dict[int, tuple[int, int, int]] = {}

    def stepped(self) -> None:
        """The perforated optimizer has changed the weights."""
        self._seen.clear()

    def backward_came(self, layer: MaskedLayer, steps: int) -> None:
        """A backward pass has come to the layer's weight, after so many of the perforated optimizer's steps."""
        if self.warned or steps >= self.until:
            return
        weight = layer.parameter
        now = id(weight), weight._version
        *before, changes = self._seen.get(id(layer), (*now, 0))
        changes += before[0] == now[0] and before[1] != now[1]
        self._seen[id(layer)] = *now, changes
        if changes >= CHANGES:
            self.warned = True
            warnings.warn(
                f"layer {layer.name!r} has changed {CHANGES} times since the perforated optimizer's last step"
                f" ({steps:,} of {self.total_steps:,} done): another optimizer trains it, and masks do not follow the"
                " schedule. Change a learning rate in optimizer.param_groups; for a new optimizer save the state dicts"
                " of model and perforator, perforate sparbor.unwrap(model) with it, and load both",
                UserWarning,
                stacklevel=2,
            )
