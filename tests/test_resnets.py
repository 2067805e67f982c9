"""bench/resnet18.py, resnet20.py: a stopped run goes on to the same result, and the table holds what was measured."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import sparbor
from bench import data
from bench.data.batches import BINARY
from bench.inference.convnets import ResNet18
from bench.job.arms import Split, load_split
from bench.job.job import Job
from bench.study import resnets
from bench.study.resnet_plans import RESNET18, RESNET20, Plan
from bench.study.resnet_training import Run, Training, augment, draw_batches, load_checkpoint, save_checkpoint
from sparbor import Recipe
from sparbor.errors import StateError
from tests.conftest import write_files
from tests.states import assert_same

torch.set_num_threads(1)
EPOCHS = 3
STEPS = 2 * EPOCHS  # 135 images to learn from: a whole batch and a rest
COLUMNS = {"dataset", "arm", "sparsity", "schedule", "seed", "epochs", "validation_accuracy", "test_accuracy"} | {
    "active_parameters",
    "total_parameters",
}


def often(pattern: str, sparsity: float) -> Recipe:
    """The published recipe with a change of topology after every step."""
    recipe = RESNET18.recipe(pattern, sparsity)
    return replace(recipe, schedule=replace(recipe.schedule, interval=1))


# An eighth of the channels.
SMALL = replace(RESNET18, build=lambda: ResNet18(10, small_images=True, width=8), recipe=often)


def write_batches(folder: Path, seed: int = 0, images: int = 30) -> Path:
    """Noise in the form of the official binary batches."""
    noise = np.random.default_rng(seed)
    batches = noise.integers(256, size=(len(BINARY.md5), images, 3073), dtype=np.uint8)
    batches[:, :, 0] %= 10
    return write_files(folder, {name: batch.tobytes() for name, batch in zip(BINARY.md5, batches, strict=True)})


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_batches(tmp_path_factory.mktemp("noise"))


@pytest.fixture(scope="module")
def split(noise: Path) -> Split:
    return load_split(job(noise))


def job(data_dir: Path, **changes: Any) -> Job:
    return replace(Job("cifar10", epochs=EPOCHS, data_dir=data_dir, learning_rate=0.1), **changes)


def carry_on(training: Training, until: int) -> Training:
    for _ in training.advance(until):
        pass
    return training


# A run that stops and goes on
# ----------------------------


@pytest.mark.parametrize("arm", resnets.ARMS)
def test_a_run_that_stops_within_and_after_an_epoch_ends_as_one_that_does_not(
    arm: str, noise: Path, split: Split, tmp_path: Path
) -> None:
    run = Run(SMALL, arm, job(noise, sparsity=0.0 if arm == "dense" else 0.8, seed=3))
    whole = carry_on(Training(run, split), STEPS)
    for stop in (1, 4, STEPS):
        part = Training(run, split)
        if stop > 1:
            load_checkpoint(part, tmp_path / "checkpoint")
        save_checkpoint(carry_on(part, stop), tmp_path / "checkpoint")
        assert part.steps == stop
    assert_same(part.arm.state_dict(), whole.arm.state_dict())
    assert [epoch.epoch for epoch in part.arm.epochs] == [0, 1, 2]
    assert part.finished
    if arm != "dense":
        assert [change.step for change in part.arm.changes] == [1, 2, 3]
        assert abs(part.arm.density() - 0.2) < 0.01
        assert not torch.equal(masks(part), masks(carry_on(Training(run, split), 1)))


def masks(training: Training) -> torch.Tensor:
    assert training.arm.perforator
    return torch.cat([module.mask.flatten() for module in training.arm.perforator.modules.values()])


def test_a_checkpoint_is_due_after_each_epoch_and_at_the_end(noise: Path, split: Split) -> None:
    training = Training(Run(SMALL, "dense", job(noise, sparsity=0.0)), split)
    assert [training.steps for _ in training.advance(3)] == [2, 3]
    assert [training.steps for _ in training.advance(100)] == [4, 6]


def test_batches_depend_on_seed_and_epoch_and_hold_every_image_once() -> None:
    batches = draw_batches(seed=1, epoch=2, images=300)
    assert [len(batch) for batch in batches] == [128, 128, 44]
    drawn = torch.cat(batches)
    assert sorted(drawn[:, 0].tolist()) == list(range(300))
    assert set(drawn[:, 1].tolist()) == set(drawn[:, 2].tolist()) == set(range(9))
    assert set(drawn[:, 3].tolist()) == {0, 1}
    assert torch.equal(drawn, torch.cat(draw_batches(1, 2, 300)))
    assert not torch.equal(drawn, torch.cat(draw_batches(2, 1, 300)))


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8), st.integers(0, 1)), min_size=1, max_size=4))
def test_augmented_images_are_windows_of_mirrored_ones(draws: list[tuple[int, int, int]]) -> None:
    images = torch.arange(len(draws) * 2 * 6 * 6).float().view(len(draws), 2, 6, 6)
    computed = augment(images, *torch.tensor(draws).unbind(dim=1)).numpy()
    for image, (down, right, flip), window in zip(images.numpy(), draws, computed, strict=True):
        expected = np.pad(image, ((0, 0), (4, 4), (4, 4)), mode="reflect")[:, down : down + 6, right : right + 6]
        assert np.array_equal(window, expected[:, :, ::-1] if flip else expected)


def test_the_learning_rate_falls_as_published() -> None:
    rates = [0.1 * RESNET18.rate(epoch, 250) for epoch in (0, 76.9, 77, 153, 154, 231, 249)]
    assert rates == pytest.approx([0.1, 0.1, 0.02, 0.02, 0.004, 0.0008, 0.0008])
    assert [RESNET18.rate(epoch, 10) for epoch in (2, 3)] == pytest.approx([1, 0.2])
    assert RESNET18.rate(0, 1) == 1


def test_the_smaller_network_has_a_rate_that_falls_to_zero(noise: Path, split: Split) -> None:
    assert [RESNET20.rate(done, 20) for done in (0, 10, 20)] == pytest.approx([1, 0.5, 0])
    assert sum(each.numel() for each in RESNET20.build().parameters()) == 272_474
    training = Training(Run(RESNET20, "slots", job(noise, sparsity=0.8)), split)
    carry_on(training, 3)
    assert [group["lr"] for group in training.arm.optimizer.param_groups] == [pytest.approx(0.075)]


def test_the_recipe_is_sparse_from_the_first_step_and_rests_for_the_last_quarter() -> None:
    recipe = Run(RESNET18, "slots", Job("cifar10", sparsity=0.95)).recipe()
    assert recipe is not None
    timeline = recipe.timeline(1000)
    assert timeline.progress(0) == 1
    assert [step for step in range(1001) if timeline.rewires(step)] == [0, 100, 200, 300, 400, 500, 600, 700]
    assert (recipe.method, recipe.distribution, timeline.drop(0), timeline.drop(750)) == ("rigl", "erk", 0.3, 0)


# The script
# ----------


@pytest.fixture
def script(noise: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Runs it in a directory of its own, with files ``out/`` and ``results.json``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*options: str, plan: Plan = SMALL) -> int:
        common = ["--epochs", "1", "--seeds", "1", "--device", "cpu", "--data-dir", str(noise), "--out", "out"]
        return resnets.main(plan, [*common, "--json", "results.json", *options])

    return run


def rows() -> list[dict[str, Any]]:
    return list(json.loads(Path("results.json").read_text())["rows"])


def test_a_stopped_run_has_no_test_accuracy_and_a_finished_one_is_deployed(
    script: Callable[..., int], noise: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script("--sparsity", "0.9", "--steps", "1") == 0
    stopped = rows()
    assert [(row["arm"], row["sparsity"], row["steps"]) for row in stopped] == [("dense", 0.0, 1), ("slots", 0.9, 1)]
    assert all(row["validation_accuracy"] is row["test_accuracy"] is None for row in stopped)
    assert capsys.readouterr().out.count("not measured yet") == 9

    assert script("--sparsity", "0.9") == 0
    finished = rows()
    assert all(row.keys() >= COLUMNS and row["steps"] == row["total_steps"] == 2 for row in finished)
    assert "slots-0.9-seed0: goes on from step 1\n" in (printed := capsys.readouterr().out)
    assert printed.count("not measured yet") == 7
    dataset = data.load("cifar10", noise)
    for row, name in zip(finished, ("dense-seed0", "slots-0.9-seed0"), strict=True):
        right = sparbor.load(f"out/{name}.safetensors")(dataset.test_images).argmax(axis=1) == dataset.test_labels
        assert 100 * right.mean() == pytest.approx(row["engine_test_accuracy"])
        assert abs(row["engine_test_accuracy"] - row["test_accuracy"]) < 10  # of 30 images
    assert finished[1]["active_parameters"] < 0.2 * finished[0]["active_parameters"]

    before = {path.name: path.read_bytes() for path in Path("out").iterdir()}
    assert script("--sparsity", "0.9") == 0
    assert rows() == finished
    assert {path.name: path.read_bytes() for path in Path("out").iterdir()} == before
    assert "step" not in capsys.readouterr().out


def test_an_interrupted_run_says_where_it_goes_on(
    script: Callable[..., int], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(training: Training) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(resnets, "progress", interrupt)
        assert script("--arms", "dense", "--epochs", "2") == 130
    expected = "resnet18.py: interrupted; next time dense-seed0 goes on from out/dense-seed0.checkpoint\n"
    assert capsys.readouterr().err == expected
    assert rows() == []
    assert script("--arms", "dense", "--epochs", "2") == 0
    assert "dense-seed0: goes on from step 2\n" in capsys.readouterr().out


def test_a_loss_that_is_no_number_ends_the_run_before_its_checkpoint(
    script: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert script("--arms", "dense", plan=replace(SMALL, learning_rate=1e38)) == 2
    assert re.fullmatch(
        r"resnet18.py: error: dense-seed0: the training loss is (nan|inf) in epoch 0\n", capsys.readouterr().err
    )
    assert list(Path("out").iterdir()) == []


# The comparison
# --------------


def measured(arm: str, sparsity: float, test_accuracy: float | None, **changes: Any) -> dict[str, Any]:
    row = {"model": "resnet18-cifar", "arm": arm, "sparsity": sparsity, "seed": 0, "epochs": 250, "data": "some"}
    return {**row, "test_accuracy": test_accuracy, "active_parameters": 1_126_042, **changes}


def test_cells_without_a_measured_row_stay_empty(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    results = [
        measured("slots", 0.9, 95.0),
        measured("slots", 0.9, 95.2, seed=1),
        measured("slots", 0.99, None),
        measured("dense", 0.0, 91.0, epochs=10),
        measured("unstructured", 0.8, 70.0, model="another"),
        measured("unstructured", 0.5, 95.5),
    ]
    file = tmp_path / "elsewhere.json"
    file.write_text(json.dumps({"environment": {"cpu": "another"}, "command": "", "rows": results}))
    assert resnets.main(RESNET18, ["--table", "--json", str(file)]) == 0
    cells = [re.split(r"\s*│\s*", line.strip())[1:-1] for line in capsys.readouterr().out.splitlines() if "│" in line]
    assert cells == [
        ["dense", "", "95.45", "not measured yet", "", ""],
        ["slots 80 %", "", "95.22", "not measured yet", "", ""],
        ["slots 90 %", "1.13 M", "95.11", "95.10 ± 0.14", "-0.01", "2"],
        ["slots 95 %", "", "94.70", "not measured yet", "", ""],
        ["slots 99 %", "", "92.88", "not measured yet", "", ""],
        ["unstructured 50 %", "1.13 M", "", "95.50", "", "1"],
        ["unstructured 80 %", "", "95.22", "not measured yet", "", ""],
        ["unstructured 90 %", "", "95.11", "not measured yet", "", ""],
        ["unstructured 95 %", "", "94.70", "not measured yet", "", ""],
        ["unstructured 99 %", "", "92.88", "not measured yet", "", ""],
    ]


# What is refused
# ---------------


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"arm": "unstructured"}, "arm: 'slots' where this run has 'unstructured'; recipe: "),
        ({"sparsity": 0.9}, "sparsity: 0.8 where this run has 0.9; recipe: "),
        ({"seed": 1}, "seed: 0 where this run has 1): "),
        ({"epochs": 4}, "epochs: 3 where this run has 4): "),
        ({"plan": replace(SMALL, recipe=RESNET18.recipe)}, "recipe: "),
        ({"plan": replace(SMALL, weight_decay=1e-4)}, "weight_decay: 0.0005 where this run has 0.0001): "),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(
    noise: Path, split: Split, tmp_path: Path, change: dict[str, Any], text: str
) -> None:
    path = tmp_path / "checkpoint"
    save_checkpoint(Training(Run(SMALL, "slots", job(noise, sparsity=0.8)), split), path)
    before = path.read_bytes()
    asked = {
        "sparsity": 0.8,
        **{name: value for name, value in change.items() if name in ("sparsity", "seed", "epochs")},
    }
    other = Training(Run(change.get("plan", SMALL), change.get("arm", "slots"), job(noise, **asked)), split)
    with pytest.raises(StateError) as caught:
        load_checkpoint(other, path)
    assert str(caught.value).startswith(f"checkpoint {path} is of another run ({text}")
    assert str(caught.value).endswith("): move it away to start anew, or choose another --out")
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before


def test_a_checkpoint_of_other_data_is_refused(noise: Path, split: Split, tmp_path: Path) -> None:
    save_checkpoint(Training(Run(SMALL, "dense", job(noise)), split), tmp_path / "checkpoint")
    other = load_split(job(write_batches(tmp_path / "other", seed=1)))
    with pytest.raises(StateError, match=r"is of another run \(training_labels_crc32: "):
        load_checkpoint(Training(Run(SMALL, "dense", job(noise)), other), tmp_path / "checkpoint")


@pytest.mark.parametrize("damage", ["empty", "truncated", "text", "another object", "no state", "code"])
def test_a_checkpoint_that_cannot_be_read_is_refused_and_left_alone(
    script: Callable[..., int], capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    assert script("--arms", "dense", "--steps", "1") == 0
    path = Path("out/dense-seed0.checkpoint")
    if damage == "another object":
        torch.save([1, 2], path)
    elif damage == "code":
        torch.save({"identity": {}, "state": Path}, path)
    elif damage == "no state":
        torch.save({"identity": torch.load(path)["identity"], "state": {}}, path)
    else:
        path.write_bytes({"empty": b"", "truncated": path.read_bytes()[:-5000], "text": b"no checkpoint"}[damage])
    before, results = path.read_bytes(), rows()
    capsys.readouterr()
    assert script("--arms", "dense") == 2
    assert re.fullmatch(
        rf"resnet18.py: error: checkpoint {path} (cannot be read|is damaged) \(.+\):"
        r" move it away to start anew, or choose another --out\n",
        capsys.readouterr().err,
    )
    assert path.read_bytes() == before
    assert rows() == results


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            ["--data-dir", "nowhere"],
            r"data_dir \(--data-dir\) nowhere cannot be read \(No such file or directory\); put .*",
        ),
        (["--device", "cuda:99"], r"device='cuda:99': this machine has \d+ CUDA devices; use 'cpu'"),
        (["--sparsity", "1.5"], "sparsity=1.5: .*"),
        (["--epochs", "0"], "epochs=0: must be at least 1"),
        (["--steps", "0"], "steps=0: must be at least 1"),
        (["--seeds", "0"], "seeds=0: must be at least 1"),
        (
            ["--json", "broken.json"],
            r"json='broken.json': cannot be read as results \(.*\); name a file of this script",
        ),
        (
            ["--table", "--json", "no.json"],
            r"json='no.json': cannot be read as results \(.*\); name a file of this script",
        ),
        (["--json", "no/results.json"], "'no/results.json' could not be written .*"),
    ],
)
def test_options_that_cannot_be_meant(
    script: Callable[..., int], capsys: pytest.CaptureFixture[str], options: list[str], text: str
) -> None:
    Path("broken.json").write_text('{"rows": [')
    assert script(*options) == 2
    assert re.fullmatch(f"resnet18.py: error: {text}\n", capsys.readouterr().err)
    assert Path("broken.json").read_text() == '{"rows": ['
    assert not list(Path().glob("out/*"))
