"""When a layer's neurons grow dendrites: a frozen part of a recipe."""

import itertools
from dataclasses import dataclass
from typing import Any

from sparbor.errors import ArgumentError, StateError
from sparbor.recipe.checks import are_names, check_counts, is_number


@dataclass(frozen=True)
class Growth:
    """Neurons grow dendrites, a generation at a time: ``y = main(x) + sum_k v_k * tanh(D_k x + E_k z_<k + c_k)``.

    ``z_<k`` are the outputs of the earlier generations. ``v_k``, one for each neuron or channel, starts at zero. What
    a generation's synapses take of the budget of active weights, the other layers give up.

    Args:
        generations: how many are grown, at most.
        at: when each is grown, in shares of the run, ascending. ``None``: a generation is grown when the validation
            score, of which ``perforator.validate(score)`` tells, has not risen by more than ``minimum_gain`` for
            ``patience`` validations. Scores count once the final sparsity is reached: until then it moves them.
        patience: validations without a gain that make a plateau.
        minimum_gain: what counts as a gain, in the score's own unit.
        trial: validations after a growth at which the latest it is decided whether it stays: if their best score is
            above the best one before by more than ``minimum_gain`` and more than the noise of the scores (see
            :func:`sparbor.train.plateau.noise`). Else it is rolled back, and nothing more is grown. A growth at a
            fixed time is on trial only if a score that counts was known before it.
        layers: names of layers that may grow; ``*`` and ``?`` match as in file names.

    >>> Growth(generations=2, at=(0.4, 0.6)).births(1000)
    (400, 600)
    """

    generations: int = 1
    at: tuple[float, ...] | None = None
    patience: int = 3
    minimum_gain: float = 0.0
    trial: int = 3
    layers: tuple[str, ...] = ("*",)

    def __post_init__(self) -> None:
        check_counts("Growth", generations=self.generations, patience=self.patience, trial=self.trial)
        if not is_number(self.minimum_gain) or self.minimum_gain < 0:
            raise ArgumentError(
                f"Growth(minimum_gain={self.minimum_gain!r}): minimum_gain must be a number of at least 0, in the"
                " unit of the score"
            )
        if not self.layers or not are_names(self.layers):
            raise ArgumentError(
                f"Growth(layers={self.layers!r}): layers must be a tuple of layer names, such as ('*',)"
            )
        object.__setattr__(self, "layers", tuple(self.layers))  # lists come from JSON
        if self.at is not None:
            self._check_times()

    def _check_times(self) -> None:
        if not isinstance(self.at, (tuple, list)) or not all(is_number(share) and 0 <= share < 1 for share in self.at):
            raise ArgumentError(
                f"Growth(at={self.at!r}): at must be a tuple of shares of the run, each at least 0 and below 1, or None"
            )
        object.__setattr__(self, "at", tuple(self.at))
        if len(self.at) != self.generations:
            raise ArgumentError(
                f"Growth(generations={self.generations}, at={self.at!r}): at must have one time for each generation"
            )
        if any(later <= sooner for sooner, later in itertools.pairwise(self.at)):
            raise ArgumentError(f"Growth(at={self.at!r}): the times must ascend")

    def births(self, total_steps: int) -> tuple[int, ...]:
        """The steps after which generations are grown; empty for growth on plateaus."""
        return tuple(int(share * total_steps) for share in self.at or ())

    def check_fits(self, total_steps: int, settled: int = 0) -> None:
        """Refuse a plan that a run of ``total_steps``, whose sparsity is reached at ``settled``, has no room for."""
        if self.at is None:
            least = settled + self.patience + 1 + self.trial  # with a validation after every step
            if least > total_steps:
                raise ArgumentError(
                    f"Growth(patience={self.patience}, trial={self.trial}): no plateau can be seen and tried within"
                    f" total_steps={total_steps}, it takes {least}; lower patience and trial, or name times with `at`"
                )
            return
        births = (*self.births(total_steps), total_steps)
        for sooner, later in itertools.pairwise(births):
            if later == sooner:
                raise ArgumentError(
                    f"Growth(at={self.at!r}): a generation grown after step {sooner} has no steps until"
                    f" {'the run ends' if later == total_steps else 'the next one'}; grow earlier, or in a longer run"
                )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Growth":
        """The growth that ``dataclasses.asdict`` made plain data of, in an older release too.

        Those could let a new generation learn alone at first, by cascade correlation, which never paid.
        """
        fields = {name: value for name, value in data.items() if name not in ("training", "cascade")}
        if data.get("training", "gradient") != "gradient":
            raise StateError(
                f"growth: training={data['training']!r} is no more: a new generation learns with everything else; leave"
                " training and cascade out, or use the release that wrote this"
            )
        return cls(**fields)
