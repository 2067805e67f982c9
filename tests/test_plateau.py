"""Validation scores: what is a score, when they have stopped rising, and what is more than noise."""

import random
from decimal import Decimal
from statistics import mean

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparbor.errors import ArgumentError, StateError
from sparbor.recipe.growth import Growth
from sparbor.train.plateau import Plateau, checked_score, noise


@pytest.mark.parametrize("score", [1, 0.5, -3.25, np.float32(0.5), np.int64(3), np.float64(1e300)])
def test_scores(score: float) -> None:
    assert checked_score(score) == float(score)


@pytest.mark.parametrize(
    ("score", "text"),
    [
        (None, r"score=None: must be a number, the higher the better"),
        (True, r"score=True: must be a number"),
        ("0.9", r"score='0\.9': must be a number"),
        (torch.tensor(0.9), r"must be a number, the higher the better; pass score\.item\(\) if it is a tensor"),
        (Decimal("0.9"), r"must be a number"),
        (float("nan"), r"score=nan: must be finite; look for a division by zero"),
        (float("-inf"), r"score=-inf: must be finite"),
    ],
)
def test_what_is_no_score(score: object, text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        checked_score(score)


@given(st.floats(-5, 5), st.floats(-2, 2), st.integers(0, 12))
def test_a_straight_line_has_no_noise(start: float, slope: float, count: int) -> None:
    assert noise([start + slope * number for number in range(count)]) == pytest.approx(0, abs=1e-12)


def test_noise_is_the_standard_deviation_around_a_trend() -> None:
    source = random.Random(0)
    estimates = [noise([0.1 * n + source.gauss(0, 0.5) for n in range(200)]) for _ in range(20)]
    assert mean(estimates) == pytest.approx(0.5, rel=0.03)


def fed(growth: Growth, scores: list[float], total_steps: int = 100, settled: int = 0) -> Plateau:
    plateau = Plateau(growth, total_steps, settled)
    for number, score in enumerate(scores, 1):
        plateau.add(score, number)
    return plateau


def test_a_plateau_is_patience_validations_without_a_gain() -> None:
    growth = Growth(patience=2, minimum_gain=0.5)
    assert not fed(growth, [1.0, 2.0, 2.4]).seen
    assert fed(growth, [1.0, 2.0, 2.4, 2.5]).seen, "0.5 is not more than 0.5"
    assert not fed(growth, [1.0, 2.0, 2.4, 2.6]).seen
    assert not fed(growth, [1.0, 2.0, 2.0, 2.0], settled=3).seen, "scores before the sparsity is reached do not count"
    assert fed(growth, [1.0, 2.0, 2.0, 2.0, 2.0], settled=3).seen
    assert not fed(Growth(at=(0.5,), patience=2), [1.0] * 9).seen, "timed growth waits for none"


def test_a_trial_must_rise_above_the_noise() -> None:
    level = [1.0, 1.2, 1.0, 1.2]
    plateau = fed(Growth(patience=2, trial=2), level)
    plateau.begin_trial()
    assert plateau.bar == 1.2 + noise(level)
    plateau.add(plateau.bar, 5)
    assert not plateau.passed, "to reach the bar is not enough"
    assert not plateau.decided(5)
    plateau.add(plateau.bar - 0.01, 6)
    assert plateau.decided(6)
    assert not plateau.end_trial()
    assert plateau.best == 1.2

    plateau.begin_trial()
    assert plateau.bar is not None
    plateau.add(plateau.bar + 0.01, 7)
    assert plateau.decided(7), "it has passed, whatever comes"
    assert plateau.end_trial()
    assert plateau.best == pytest.approx(1.2 + noise(level) + 0.01)


def test_the_minimum_gain_is_the_least_bar_and_a_trial_ends_with_the_run() -> None:
    plateau = fed(Growth(patience=2, trial=9, minimum_gain=0.5), [1.0, 1.0, 1.0, 1.0])
    plateau.begin_trial(1.1)
    assert plateau.bar == pytest.approx(1.6)
    assert not plateau.decided(99)
    assert plateau.decided(100)
    assert plateau.end_trial(), "no score has come: nothing speaks against it"


def test_scores_that_come_too_rarely_or_never() -> None:
    growth = Growth(patience=3, trial=3)
    plateau = Plateau(growth, 100)
    plateau.add(1.0, 17)
    with pytest.raises(
        ArgumentError, match=r"a score each 17 steps a run of total_steps=100 has 5 when its.*take 7; low"
    ):
        plateau.add(1.0, 34)
    plateau = Plateau(growth, 100, settled=60)
    plateau.add(1.0, 10)
    with pytest.raises(ArgumentError, match=r"has 4 when its sparsity is reached, patience and trial take 7"):
        plateau.add(1.0, 20)
    fed(growth, [1.0, 1.0], total_steps=8)
    plateau = Plateau(growth, 100)
    plateau.check_begun(93)
    with pytest.raises(ArgumentError, match=r"no score has come by step 94 of 100: call perforator\.validate\(score\)"):
        plateau.check_begun(94)
    Plateau(Growth(at=(0.2,)), 100).check_begun(99)


def test_growth_needs_time_for_its_trial() -> None:
    plateau = Plateau(Growth(patience=1, trial=3), 100)
    for step in (5, 10):
        plateau.add(1.0, step)
    assert plateau.leaves_time(85)
    assert not plateau.leaves_time(86)


def test_state() -> None:
    plateau = fed(Growth(patience=2), [1.0, 1.2, 1.0, 1.0])
    plateau.begin_trial()
    plateau.add(1.1, 5)
    other = Plateau(plateau.growth, 100)
    other.load_state_dict(plateau.state_dict())
    assert other.state_dict() == plateau.state_dict()
    assert vars(other) == vars(plateau)
    with pytest.raises(StateError, match=r"the state is damaged: its validation scores are"):
        other.load_state_dict({**plateau.state_dict(), "bar": "high"})
