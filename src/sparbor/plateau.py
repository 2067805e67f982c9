"""Validation scores: when they have stopped rising, and whether what was grown then made them rise again."""

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

from sparbor.errors import ArgumentError, StateError
from sparbor.growth import Growth


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
    """Sees plateaus in a series of scores, and judges trials.

    ``scores`` are all so far but those of a trial that is going on, which are in ``trial``; ``bar`` is what the best of
    these must exceed, ``None`` when nothing is on trial.
    """

    def __init__(self, growth: Growth) -> None:
        self.growth = growth
        self.scores: list[float] = []
        self.trial: list[float] = []
        self.bar: float | None = None
        self._reference: float | None = None
        self._waited = 0

    def add(self, score: float) -> None:
        """A score has come."""
        if self.bar is not None:
            self.trial.append(score)
            return
        self.scores.append(score)
        if self._reference is None or score > self._reference + self.growth.minimum_gain:
            self._reference, self._waited = score, 0
        else:
            self._waited += 1

    @property
    def reached(self) -> bool:
        """Whether no score has risen enough for as many validations as growth has patience."""
        return self.bar is None and self._waited >= self.growth.patience

    @property
    def best(self) -> float | None:
        """The best score before a trial that is going on, or of all."""
        return max(self.scores, default=None)

    def begin_trial(self, score: float | None = None) -> None:
        """From now on scores tell whether they rise above what they were, ``score`` included; there must be one."""
        if score is not None:
            self.scores.append(score)
        window = self.scores[-(self.growth.patience + 2) :]
        self.bar = max(self.scores) + max(noise(window), self.growth.minimum_gain)
        self.trial = []

    @property
    def decided(self) -> bool:
        """Whether the trial has had all of its validations, or has passed already."""
        return self.bar is not None and (len(self.trial) >= self.growth.trial or self.passed)

    @property
    def passed(self) -> bool:
        """Whether the best score of the trial is above the bar."""
        return self.bar is not None and max(self.trial, default=-math.inf) > self.bar

    def end_trial(self, kept: bool) -> None:
        """The scores of a trial count only if what was tried is kept."""
        if kept:
            self.scores += self.trial
        self.trial, self.bar = [], None
        self._reference, self._waited = self.best, 0

    def state_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "scores": list(self.scores),
            "trial": list(self.trial),
            "bar": self.bar,
            "reference": self._reference,
            "waited": self._waited,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken."""
        try:
            scores, trial, bar = list(state["scores"]), list(state["trial"]), state["bar"]
            reference, waited = state["reference"], state["waited"]
            numbers = [*scores, *trial, waited, *(each for each in (bar, reference) if each is not None)]
            good = all(isinstance(each, (int, float)) for each in numbers)
        except (KeyError, TypeError) as error:
            raise StateError(f"the state is damaged: its scores lack {error}") from error
        if not good:
            raise StateError(f"the state is damaged: its scores are {state!r}")
        self.scores, self.trial, self.bar, self._reference, self._waited = scores, trial, bar, reference, waited
