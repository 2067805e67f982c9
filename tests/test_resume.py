"""``main.py --resume``: a run that was stopped anywhere ends as one that was not, bit for bit."""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.job import experiment, report
from bench.job.arms import Arm, Split, load_split, new_arm, train
from bench.job.checkpoint import Checkpoint
from bench.job.command import main as benchmark_main
from bench.job.effort import Effort
from bench.job.experiment import identity, resumed_arms, start_arms
from bench.job.job import Job
from sparbor.calibration.calibration import calibrated
from sparbor.recipe.budget import Budget
from tests.states import assert_same
from tests.test_end_to_end import MAIN, ONE_THREAD

EPOCHS = 6
VOLATILE = {"environment", "runtimes", "not_measured"}
VOLATILE |= {f"{of}{name}" for of in ("", "training_") for name in ("seconds", "cpu_seconds", "energy_joules")}


def options(out: Path, data_dir: Path, *others: str) -> list[str]:
    return ["--epochs", str(EPOCHS), "--seed", "3", "--out", str(out), "--data-dir", str(data_dir), *others]


def lasting(metrics: Any) -> Any:
    """What does not depend on the machine and the hour."""
    if isinstance(metrics, dict):
        return {name: lasting(value) for name, value in metrics.items() if name not in VOLATILE}
    return [lasting(each) for each in metrics] if isinstance(metrics, list) else metrics


def stop_after(monkeypatch: pytest.MonkeyPatch, epochs: int) -> None:
    """The next run ends as if it were interrupted within the epoch after so many."""
    advance = experiment.train

    def interrupted(*arguments: Any) -> Any:
        for epoch in advance(*arguments):
            if epoch == epochs:
                raise KeyboardInterrupt
            yield epoch

    monkeypatch.setattr(experiment, "train", interrupted)


@pytest.fixture(scope="module")
def split(small_mnist: Path) -> Split:
    return load_split(Job(data_dir=small_mnist))


def until(arms: list[Arm], split: Split, job: Job, epochs: int) -> dict[str, Any]:
    """Train until so many epochs are done; the arms' state then."""
    for epoch in train(arms, split, job):
        if epoch + 1 == epochs:
            break
    return {arm.name: arm.state_dict() for arm in arms}


def half_the_latency(split: Split) -> Budget:
    """Half way between the model without a synapse and the dense one, as fast as this machine is now."""
    job = Job(budget=Budget(latency_us=1e9))
    model = new_arm("any", job.task.build, job).model
    enough = calibrated(job.recipe(), model, split.training.images[:1]).budget
    assert enough is not None
    assert enough.costs is not None
    ends = [(min(cost.fixed, cost.dense), cost.dense) for cost in enough.costs.layers]
    return Budget(latency_us=enough.costs.rest + sum(sum(pair) / 2 for pair in ends))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"dendrites": 2},
        {"learning_rate_schedule": "cosine", "sparsity": 0.5},
        {"budget": Budget(multiply_adds=20_000)},
        {"budget": half_the_latency},
    ],
    ids=["sparsity", "dendrites", "cosine", "multiply-adds", "latency"],
)
def test_training_that_stops_twice_ends_as_training_that_does_not(
    changes: dict[str, Any], split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = {name: value(split) if callable(value) else value for name, value in changes.items()}
    job = Job(epochs=EPOCHS, seed=3, **changes)
    checkpoint = Checkpoint(tmp_path / "checkpoint", identity(job, split), "try")
    arms = start_arms(job, split, job.recipe())
    assert arms[1].perforator is not None
    recipe = arms[1].perforator.recipe  # with the costs that were measured, which no second measurement would repeat
    checkpoint.save(until(arms, split, job, 1))
    whole = until(arms, split, job, EPOCHS)
    monkeypatch.delattr("bench.job.arms.calibrated")
    for epochs in (4, EPOCHS):
        arms = resumed_arms(job, split, checkpoint)
        checkpoint.save(until(arms, split, job, epochs))
    assert_same(checkpoint.load(), whole)
    assert arms[1].perforator is not None
    assert arms[1].perforator.recipe == recipe
    assert [epoch.epoch for epoch in arms[1].epochs] == list(range(EPOCHS))


def test_what_was_spent_before_a_stop_is_kept(split: Split, tmp_path: Path) -> None:
    job = Job(epochs=EPOCHS, seed=3)
    checkpoint = Checkpoint(tmp_path / "checkpoint", identity(job, split), "try")
    arms = start_arms(job, split, job.recipe())
    until(arms, split, job, 1)
    arms[1].effort = Effort(seconds=1.0, cpu_seconds=2.0, multiply_adds=3, energy_joules=None)  # of half an epoch
    checkpoint.save({arm.name: arm.state_dict() for arm in arms})
    resumed = resumed_arms(job, split, checkpoint)
    assert [arm.total_effort() for arm in resumed] == [arm.total_effort() for arm in arms]
    assert resumed[1].total_effort().cpu_seconds > 2
    until(resumed, split, job, 2)
    for before, after in zip(arms, resumed, strict=True):
        assert after.epochs[0] == before.epochs[0]
        spent, more = before.total_effort(), after.total_effort()
        assert spent.multiply_adds is not None
        assert more.multiply_adds is not None
        assert more.multiply_adds - spent.multiply_adds > 1170 * 2 * 20_000
        assert more.cpu_seconds > spent.cpu_seconds > 0
    assert resumed[1].total_effort().energy_joules is None


@pytest.mark.skipif(os.name != "posix", reason="sends a POSIX signal")
def test_a_run_that_is_killed_goes_on(small_mnist: Path, tmp_path: Path) -> None:
    out, checkpoint = tmp_path / "killed", tmp_path / "killed" / report.CHECKPOINT
    arguments = options(out, small_mnist, "--epochs", "12")
    process = subprocess.Popen([*MAIN, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=ONE_THREAD)
    deadline = time.monotonic() + 200
    while not checkpoint.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    saved = torch.load(checkpoint)["state"]
    assert len(saved["baseline"]["epochs"]) == len(saved["dendritic"]["epochs"]) < 12
    assert not (out / report.METRICS).exists()

    finished = subprocess.run(
        [*MAIN, *arguments, "--resume"], capture_output=True, text=True, timeout=280, env=ONE_THREAD
    )
    assert finished.returncode == 0, finished.stderr
    assert sorted(path.name for path in out.iterdir()) == sorted(
        [report.METRICS, report.MODEL, report.PLOT, report.REPORT]
    )
    whole = tmp_path / "whole"
    assert subprocess.run([*MAIN, *arguments, "--out", str(whole)], capture_output=True, env=ONE_THREAD).returncode == 0
    assert (out / report.MODEL).read_bytes() == (whole / report.MODEL).read_bytes()
    ours, theirs = (lasting(json.loads((each / report.METRICS).read_text())) for each in (out, whole))
    assert ours == theirs
    assert len(ours["dendritic"]["epochs"]) == 12


@pytest.fixture
def stopped(small_mnist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Results of a run that was interrupted after its first epoch."""
    with monkeypatch.context() as patch:
        stop_after(patch, 1)
        assert benchmark_main(options(tmp_path / "PAI", small_mnist)) == 130
    return tmp_path / "PAI"


@pytest.mark.parametrize(
    ("others", "text"),
    [
        (["--seed", "4"], r"seed: 3 where this run has 4"),
        (["--epochs", "7"], r"epochs: 6 where this run has 7"),
        (["--sparsity", "0.8"], r"recipe: .*"),
        (["--learning-rate", "0.01"], r"learning_rate: 0\.001 where this run has 0\.01"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(
    others: list[str], text: str, stopped: Path, small_mnist: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = {path.name: path.read_bytes() for path in stopped.iterdir()}
    capfd.readouterr()
    assert benchmark_main([*options(stopped, small_mnist), *others, "--resume"]) == 2
    remedy = r"leave out --resume to start anew, or choose another --out"
    expected = rf"main.py: error: checkpoint {stopped}/checkpoint\.pt is of another run \({text}\): {remedy}\n"
    assert re.fullmatch(expected, capfd.readouterr().err)
    assert {path.name: path.read_bytes() for path in stopped.iterdir()} == before


@pytest.mark.parametrize("damage", ["empty", "truncated", "no weights"])
def test_a_damaged_checkpoint_is_refused(
    damage: str, stopped: Path, small_mnist: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    checkpoint = stopped / report.CHECKPOINT
    if damage == "no weights":
        saved = torch.load(checkpoint)
        del saved["state"]["baseline"]["model"]["fc1.weight"]
        torch.save(saved, checkpoint)
    else:
        checkpoint.write_bytes(checkpoint.read_bytes()[: -1000 if damage == "truncated" else 0])
    before = checkpoint.read_bytes()
    capfd.readouterr()
    assert benchmark_main([*options(stopped, small_mnist), "--resume"]) == 2
    what = "is damaged" if damage == "no weights" else "cannot be read"
    error = capfd.readouterr().err
    assert re.fullmatch(rf"main.py: error: checkpoint \S+ {what} \(.+\): leave out --resume .*\n", error), error
    assert checkpoint.read_bytes() == before


def test_there_must_be_something_to_resume(
    small_mnist: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "PAI"
    assert benchmark_main([*options(out, small_mnist), "--resume"]) == 2
    assert re.fullmatch(
        r"main.py: error: resume: there is no \S+PAI/checkpoint\.pt; leave out --resume to start anew, or name"
        r" another --out\n",
        capfd.readouterr().err,
    )
    assert not out.exists()
