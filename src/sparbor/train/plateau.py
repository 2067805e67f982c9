"""Validation scores: when they have stopped rising, and whether what was grown then made them rise again."""

import copy
import itertools
import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

from sparbor.errors import ArgumentError, StateError
from sparbor.recipe.growth import Growth

STATE = ("scores", "trial", "steps", "bar", "seen", "reference", "waited")  # first the lists


def checked_score(score: object) -> float:
    """The score as a float; what is no finite number is refused."""
    if isinstance(score, bool) or not isinstance(score, Real):
        raise ArgumentError(
            f"score={score!r}: must be a number, the higher the better; pass score.item() if it is a tensor, and call"
            " validate() only when there is a score"
        )
    if not math.isfinite(score):
        raise ArgumentError(
            f"score={score!r}: must be finite; look for a division by zero or a diverged model where it is computed"
        )
    return float(score)


def noise(scores: Sequence[float]) -> float:
    """The scatter of scores around their trend, estimated from every three in a row.

    ``sqrt(mean((s[i-1] - 2 s[i] + s[i+1])^2) / 6)``, the standard deviation of independent errors on a straight line
    (Gasser, Sroka & Jennen-Steinmetz 1986, "Residual variance and residual pattern in nonlinear regression"). Zero for
    fewer than three scores: they cannot tell.

    >>> noise([1.0, 2.0, 3.0, 4.0])
    0.0
    >>> round(noise([0.0, 1.0, 0.0]), 3)
    0.816
    """
    bends = [a - 2 * b + c for a, b, c in zip(scores, scores[1:], scores[2:], strict=False)]
    return math.sqrt(sum(bend**2 for bend in bends) / (6 * len(bends))) if bends else 0.0


class Plateau:
    """Validation scores of a run: sees when they rise no more, and judges what was grown then.

    Scores count from step ``settled`` on: before it sparsity changes, and the scores with it.

    Attributes:
        scores: those that count, but for those of a trial that is going on, which are in ``trial``.
        bar: what the best score of the trial must exceed; ``None`` when nothing is on trial.
        seen: whether a plateau was seen that no growth has answered yet.
        reference, waited: the score that a gain is one over, and how many have come since it did.
        steps: after which every score has come.
    """

    def __init__(self, growth: Growth, total_steps: int, settled: int = 0) -> None:
        self.growth = growth
        self.total_steps = total_steps
        self.settled = settled
        self.scores: list[float] = []
        self.trial: list[float] = []
        self.bar: float | None = None
        self.seen = False
        self.reference: float | None = None
        self.waited = 0
        self.steps: list[int] = []

    @property
    def best(self) -> float | None:
        """The best score, those of a trial that is going on aside."""
        return max(self.scores, default=None)

    def add(self, score: float, step: int) -> None:
        """A score has come after ``step``; raises if at this pace no plateau can ever be seen."""
        self.steps.append(step)
        if self.bar is not None:
            self.trial.append(score)
        elif step >= self.settled:
            self.scores.append(score)
            if self.reference is None or score > self.reference + self.growth.minimum_gain:
                self.reference, self.waited = score, 0
            else:
                self.waited += 1
            self.seen = self.growth.at is None and self.waited >= self.growth.patience
        if self.growth.at is None:
            self._check_pace(step)

    def leaves_time(self, step: int) -> bool:
        """Whether growth after ``step`` could have its whole trial, scores coming as often as so far."""
        return step + self.growth.trial * self._pace() <= self.total_steps

    def check_begun(self, step: int) -> None:
        """Refuse to go on without a score where growth that waits for a plateau could not come any more."""
        needed = self.growth.patience + self.growth.trial
        if self.growth.at is None and not self.steps and step >= max(self.total_steps - needed, 1):
            raise ArgumentError(
                f"growth waits for a plateau, and no score has come by step {step} of {self.total_steps}: call"
                " perforator.validate(score) after each validation, or name times with Growth(at=...)"
            )

    def begin_trial(self, score: float | None = None) -> None:
        """From now on scores tell whether they rise above what they were, ``score`` included; there must be one."""
        if score is not None:
            self.scores.append(score)
        window = self.scores[-(self.growth.patience + 2) :]
        self.bar = max(self.scores) + max(noise(window), self.growth.minimum_gain)
        self.trial, self.seen = [], False

    @property
    def passed(self) -> bool:
        """Whether the best score of the trial is above the bar."""
        return self.bar is not None and max(self.trial, default=-math.inf) > self.bar

    def decided(self, step: int) -> bool:
        """Whether a trial has had all of its validations, has passed already, or ends with the run."""
        out_of_time = len(self.trial) >= self.growth.trial or step >= self.total_steps
        return self.bar is not None and (out_of_time or self.passed)

    def end_trial(self) -> bool:
        """Whether what was tried is kept, as it is if no score has come; else the trial's scores count no more."""
        kept = self.passed or not self.trial
        if kept:
            self.scores += self.trial
        self.trial, self.bar = [], None
        self.reference, self.waited = self.best, 0
        return kept

    def _pace(self) -> float:
        """Steps from one score to the next, so far."""
        between = len(self.steps) - 1
        return max((self.steps[-1] - self.steps[0]) / between if between > 0 else 1.0, 1.0)

    def _check_pace(self, step: int) -> None:
        if len(self.steps) != 2:
            return
        possible = len(self.scores) + (self.total_steps - max(step, self.settled)) / self._pace()
        needed = self.growth.patience + 1 + self.growth.trial
        if possible < needed:
            raise ArgumentError(
                f"growth waits for a plateau that cannot come: with a score each {self._pace():.0f} steps a run of"
                f" total_steps={self.total_steps} has {int(possible)} when its sparsity is reached, patience and trial"
                f" take {needed}; lower them, validate more often, or name times with Growth(at=...)"
            )

    def state_dict(self) -> dict[str, Any]:
        """Plain data."""
        return copy.deepcopy({name: getattr(self, name) for name in STATE})

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken."""
        loaded = {name: list(state[name]) if name in STATE[:3] else state[name] for name in STATE}
        numbers = itertools.chain(*(value if isinstance(value, list) else [value] for value in loaded.values()))
        if not all(each is None or isinstance(each, (int, float)) for each in numbers):
            raise StateError(f"the state is damaged: its validation scores are {state!r}")
        vars(self).update(loaded)
