"""The schedule as a pure function of the step, for runs of every length."""

import dataclasses
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparbor.errors import ArgumentError
from sparbor.recipe.schedule import Schedule


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    warmup = draw(st.floats(0, 1 / 3))
    ramp_end = draw(st.floats(warmup, 0.75))
    rewire_end = draw(st.floats(ramp_end, 1.0))
    interval = draw(st.none() | st.integers(1, 50))
    return Schedule(warmup, ramp_end, rewire_end, interval, draw(st.floats(0, 1)))


@settings(max_examples=300, deadline=None)
@given(schedules(), st.integers(1, 400))
def test_every_run_reaches_its_sparsity_in_time(schedule: Schedule, total: int) -> None:
    timeline = schedule.over(total)
    events = [step for step in range(total + 50) if timeline.rewires(step)]
    assert timeline.ramp_end in events
    assert timeline.progress(timeline.ramp_end) == 1.0
    assert timeline.ramp_end <= 0.75 * total
    assert timeline.ramp_end < total, "the last masks must be in force for at least one step"
    assert timeline.switch <= total / 3
    assert all(timeline.switch <= step <= max(timeline.ramp_end, timeline.rewire_end) for step in events)
    progress = [timeline.progress(step) for step in range(total + 50)]
    assert progress == sorted(progress)
    assert all(value == 0.0 for value in progress[: timeline.switch])
    assert all(value == 1.0 for value in progress[timeline.ramp_end :])
    assert all(timeline.drop(step) == 0.0 for step in range(timeline.rewire_end, total + 50))


@settings(max_examples=100, deadline=None)
@given(schedules(), st.integers(1, 400))
def test_the_drop_fraction_decays_to_zero(schedule: Schedule, total: int) -> None:
    timeline = schedule.over(total)
    drops = [timeline.drop(step) for step in range(timeline.switch, timeline.rewire_end + 1)]
    assert drops == sorted(drops, reverse=True)
    assert drops[-1] == 0.0
    assert all(0 <= drop <= schedule.drop_fraction for drop in drops)
    assert all(timeline.drop(step) == 0.0 for step in range(timeline.switch))


def test_the_formulas() -> None:
    timeline = Schedule(warmup=0.2, ramp_end=0.6, rewire_end=0.8, interval=10, drop_fraction=0.4).over(1000)
    assert (timeline.switch, timeline.ramp_end, timeline.rewire_end) == (200, 600, 800)
    assert timeline.progress(300) == pytest.approx(1 - 0.75**3)
    assert timeline.drop(200) == pytest.approx(0.4)
    assert timeline.drop(500) == pytest.approx(0.2)
    assert timeline.drop(650) == pytest.approx(0.2 * (1 + math.cos(math.pi * 0.75)))
    assert [step for step in range(1001) if timeline.rewires(step)] == list(range(200, 800, 10))


def test_the_default_is_that_of_the_reference_job() -> None:
    """Six epochs: dense in the first half of the first one, as sparse as asked for in the last one and a half."""
    timeline = Schedule().over(6 * 422)
    assert timeline.switch == 253
    assert timeline.ramp_end == 4.5 * 422


@pytest.mark.parametrize(
    ("total", "switch", "ramp_end"), [(1, 0, 0), (2, 0, 1), (3, 0, 2), (4, 0, 3), (5, 0, 3), (100, 10, 75)]
)
def test_short_runs(total: int, switch: int, ramp_end: int) -> None:
    timeline = Schedule().over(total)
    assert (timeline.switch, timeline.ramp_end) == (switch, ramp_end)


def test_the_interval_is_a_hundredth_of_the_run_from_10_to_100_steps() -> None:
    assert [Schedule().over(total).interval for total in (400, 1000, 5000, 10_000, 10**6)] == [10, 10, 50, 100, 100]
    assert Schedule(interval=7).over(50).interval == 7


@pytest.mark.parametrize("total", [*range(30, 400, 13), 399])
def test_the_sparsity_of_a_short_run_rises_in_about_ten_rewirings(total: int) -> None:
    timeline = Schedule().over(total)
    steps = [step for step in range(timeline.switch + 1, timeline.ramp_end + 1) if timeline.rewires(step)]
    assert min(10, timeline.ramp_end - timeline.switch) <= len(steps) <= 26
    leaps = [timeline.progress(step) - timeline.progress(step - timeline.interval) for step in steps[:-1]]
    assert all(leap < 0.5 for leap in leaps), "no rewiring brings most of the sparsity"


def test_a_ramp_of_no_steps_shortens_no_interval() -> None:
    assert Schedule(warmup=0, ramp_end=0).over(100).interval == 10


@pytest.mark.parametrize("schedule", [Schedule(), Schedule(0, 0), Schedule(0.3, 0.31), Schedule(0, 0.75)])
def test_runs_of_400_steps_or_more_have_the_usual_interval(schedule: Schedule) -> None:
    for total in (400, 401, 500, 999, 1000, 2532):
        assert schedule.over(total).interval == max(total // 100, 10)


def test_the_ramps_end_is_an_event_whatever_the_interval() -> None:
    timeline = Schedule(interval=1000).over(100)
    assert [step for step in range(200) if timeline.rewires(step)] == [10, 75]


def test_it_is_pure_and_frozen() -> None:
    schedule = Schedule()
    timeline = schedule.over(100)
    answers = [(timeline.progress(s), timeline.drop(s), timeline.rewires(s)) for s in range(120)]
    assert (
        answers == [(timeline.progress(s), timeline.drop(s), timeline.rewires(s)) for s in reversed(range(120))][::-1]
    )
    assert timeline == schedule.over(100)
    with pytest.raises(dataclasses.FrozenInstanceError):
        schedule.warmup = 0.1  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        timeline.switch = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"warmup": 0.5}, r"Schedule\(warmup=0\.5\): warmup must lie between 0 and 0\.3333"),
        ({"warmup": -0.1}, r"Schedule\(warmup=-0\.1\)"),
        ({"warmup": math.nan}, r"Schedule\(warmup=nan\)"),
        ({"ramp_end": 0.8}, r"Schedule\(ramp_end=0\.8\): ramp_end must lie between 0\.1 and 0\.75"),
        ({"ramp_end": 0.05}, r"Schedule\(ramp_end=0\.05\)"),
        ({"rewire_end": 0.5}, r"Schedule\(rewire_end=0\.5\): rewire_end must lie between 0\.75 and 1"),
        ({"rewire_end": 1.5}, r"Schedule\(rewire_end=1\.5\)"),
        ({"drop_fraction": 1.5}, r"Schedule\(drop_fraction=1\.5\): drop_fraction must lie between 0 and 1"),
        ({"interval": 0}, r"Schedule\(interval=0\): interval must be a whole number of at least 1 step, or None"),
        ({"interval": 2.5}, r"Schedule\(interval=2\.5\)"),
    ],
)
def test_bad_schedules(arguments: dict[str, float], text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        Schedule(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("total", [0, -1, 2.5, None])
def test_bad_totals(total: object) -> None:
    with pytest.raises(ArgumentError, match=rf"total_steps={total!r}: must be a whole number of at least 1"):
        Schedule().over(total)  # type: ignore[arg-type]
