"""The accuracy study: arms are what they are called, steps can be shared, rows say what they rest on."""

import copy
import json
import re
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import sparbor
from bench.job.arms import Arm, Epoch, Split, branch, load_split, new_arm, steps_an_epoch, train
from bench.job.job import Job
from bench.job.measure import parameter_counts
from bench.job.models import TASKS
from bench.study import accuracy
from bench.study import arms as accuracy_arms
from bench.study import fingerprints as training_fingerprints
from bench.study import rows as accuracy_rows
from bench.study import run as accuracy_run
from bench.study.arms import ARMS, ArmDefinition
from bench.study.plans import CONTROLS, MAIN, PLANS
from bench.study.report import report
from bench.study.rows import Cell, StudyFile, cell_of, is_current
from bench.study.small_dense import network_widths, scaled, small_dense
from bench.study.statistics import paired, student_t
from sparbor import NM, Slots, Unstructured
from sparbor.errors import ArgumentError
from sparbor.synapses import dispatch
from sparbor.topology.units import slot_counts

# Shared steps.


@pytest.fixture(scope="module")
def split(small_mnist: Path) -> Split:
    return load_split(Job(data_dir=small_mnist))


def same_state(first: Arm, second: Arm) -> bool:
    """Weights, masks and all that the optimizer keeps, bit for bit."""
    states = zip(first.optimizer.state.values(), second.optimizer.state.values(), strict=True)
    return (
        all(torch.equal(a, b) for a, b in zip(*(x.model.state_dict().values() for x in (first, second)), strict=True))
        and all(torch.equal(one[name], other[name]) for one, other in states for name in one)
        and first.steps == second.steps
        and first.changes == second.changes
        and [_lasting(epoch) for epoch in first.epochs] == [_lasting(epoch) for epoch in second.epochs]
    )


def _lasting(epoch: Epoch) -> Epoch:
    return replace(epoch, seconds=0, cpu_seconds=0, energy_joules=None)


def trained(arm: Arm, split: Split, job: Job, until: int | None = None) -> Arm:
    for _ in train([arm], split, job, until=until):
        pass
    return arm


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
@pytest.mark.parametrize("name", [name for name, definition in ARMS.items() if definition.starts_as_dense])
def test_an_arm_from_the_trunk_is_the_arm_trained_from_scratch(
    name: str, schedule: Any, split: Split, tmp_path: Path
) -> None:
    sparsity = ARMS[name].sparsity
    cell = Cell("mnist", name, 0.9 if sparsity is None else sparsity, schedule, epochs=3, seed=1)
    job = cell.job()
    recipe = (ARMS[name].recipe or Job.recipe)(job)
    total_steps = 3 * steps_an_epoch(split)
    scratch = branch(
        new_arm(name, job.task.build, job), name, recipe if ARMS[name].recipe else None, total_steps=total_steps
    )
    trained(scratch, split, job)
    for _ in range(2):  # trained and stored, then read
        arm = accuracy_run.start(cell, job, split, tmp_path)
        assert arm.steps == recipe.timeline(total_steps).switch - 1 > 0
        assert same_state(trained(arm, split, job), scratch)
    assert len(list((tmp_path / "trunks").iterdir())) == 1


def test_training_may_stop_at_any_step_and_go_on(split: Split) -> None:
    job = Job(epochs=3, seed=2)
    whole = trained(new_arm("dense", job.task.build, job), split, job)
    arm = new_arm("dense", job.task.build, job)
    epoch = steps_an_epoch(split)
    for until in (1, epoch, epoch, epoch + 3, 2 * epoch - 1):
        trained(arm, split, job, until)
        assert arm.steps == until
        assert len(arm.epochs) == until // epoch
    assert same_state(trained(copy.deepcopy(arm), split, job), whole)


def test_a_trunk_past_the_switch_is_refused(split: Split) -> None:
    job = Job(epochs=3)
    arm = trained(new_arm("dense", job.task.build, job), split, job, until=5)
    with pytest.raises(ArgumentError, match=r"trunk.steps=5: must be before step 3, .* recipe of 'slots' .* earlier"):
        branch(arm, "slots", job.recipe(), 30)


def test_a_cosine_falls_to_zero_step_by_step(split: Split) -> None:
    job = Job(epochs=1, learning_rate_schedule="cosine")
    rates: list[float] = []
    arm = new_arm("dense", job.task.build, job)
    for _ in train([arm], split, job, lambda arm: rates.append(arm.optimizer.param_groups[0]["lr"])):
        pass
    assert len(rates) == 10
    assert rates[0] == job.learning_rate
    assert rates[5] == pytest.approx(job.learning_rate / 2)
    assert rates == sorted(rates, reverse=True)
    assert 0 < rates[-1] < 0.03 * job.learning_rate
    with pytest.raises(ArgumentError, match=r"learning_rate_schedule='step': must be one of 'constant', 'cosine'"):
        Job(learning_rate_schedule="step")  # type: ignore[arg-type]


# Arms are what they are called.


def arm_before_training(name: str, dataset: str, split: Split, sparsity: float = 0.9, seed: int = 0) -> tuple[Arm, Job]:
    only = ARMS[name].sparsity
    cell = Cell(dataset, name, sparsity if only is None else only, "constant", epochs=3, seed=seed)
    with tempfile.TemporaryDirectory() as scratch:
        return accuracy_run.start(cell, cell.job(), split, Path(scratch)), cell.job()


@pytest.mark.parametrize(("dataset", "sparsity"), [("mnist", 0.5), ("mnist", 0.9), ("cifar10", 0.9), ("cifar10", 0.95)])
def test_a_small_dense_network_has_the_active_parameters_of_the_slots_arm(dataset: str, sparsity: float) -> None:
    job = Job(dataset=dataset, sparsity=sparsity)
    network = small_dense(job)
    assert network(torch.zeros(2, *job.task.image_shape)).shape == (2, 10)
    sparse = job.task.build()
    optimizer = torch.optim.SGD(sparse.parameters())
    at_once = replace(job.recipe(), method="static", schedule=replace(job.recipe().schedule, warmup=0.0))
    sparbor.perforate(sparse, optimizer, at_once, total_steps=1)
    wanted = parameter_counts(sparse)["active_parameters"]
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(wanted, rel=0.01)


def test_scaled_networks() -> None:
    assert network_widths(scaled(TASKS["mnist"].build(), 0.5)) == "784-128, 128-128, 128-10"
    assert network_widths(scaled(TASKS["cifar10"].build(), 0.25)) == "3-8, 8-16, 1024-128, 128-10"
    assert network_widths(scaled(TASKS["mnist"].build(), 0)) == "784-1, 1-1, 1-10"
    with pytest.raises(TypeError, match=r"a Linear cannot be scaled: it must be a torch.nn.Sequential"):
        scaled(nn.Linear(2, 2), 0.5)


def test_a_static_random_arm_keeps_its_mask_and_starts_from_the_dense_arms_weights(split: Split) -> None:
    arm, job = arm_before_training("static-random", "mnist", split)
    dense = new_arm("dense", job.task.build, job)
    assert arm.perforator is not None
    before = {name: module.mask.clone() for name, module in arm.perforator.modules.items()}
    for (name, module), layer in zip(arm.perforator.modules.items(), (1, 3, 5), strict=True):
        weight = dense.model[layer].weight.detach()  # type: ignore[index]
        assert torch.equal(module.weight, weight * module.mask)
        if name == "fc3":  # ERK leaves it dense
            assert module.mask.all()
            continue
        kept, dropped = (float(weight[mask].abs().mean()) for mask in (module.mask, ~module.mask))
        assert kept == pytest.approx(dropped, rel=0.15), f"{name} went by magnitude"
        ranks = (slot_counts(module.to_matrix(module.mask), Slots()) * 16).sum()
        assert ranks <= module.active_weights() + 16 * 16, "in whole slots, but at the edges"
    assert arm.density() == pytest.approx(0.1, abs=0.002)
    trained(arm, split, job)
    assert all(torch.equal(module.mask, before[name]) for name, module in arm.perforator.modules.items())
    other, _ = arm_before_training("static-random", "mnist", split, seed=1)
    assert other.perforator is not None
    assert not torch.equal(other.perforator.modules["fc1"].mask, before["fc1"])


def test_sparse_arms_differ_from_slots_in_what_they_are_called_after() -> None:
    job = Job(dataset="cifar10", sparsity=1 - 3 / 32)
    slots = job.recipe()
    recipes = {name: definition.recipe(job) for name, definition in ARMS.items() if definition.recipe}
    assert recipes["slots"] == slots
    assert recipes["unstructured"] == replace(slots, pattern=Unstructured())
    published = {"pattern": Unstructured(), "lr_density_exponent": 0}
    assert recipes["magnitude"] == replace(slots, method="magnitude", distribution="uniform", **published)
    rewired_more = replace(slots.schedule, drop_fraction=0.3)
    assert recipes["rigl"] == replace(slots, method="rigl", distribution="erk", schedule=rewired_more, **published)
    assert recipes["nm"] == replace(slots, pattern=NM(3, 32), distribution="uniform", exclude=("conv1",))
    assert recipes["slots-uniform"] == replace(slots, distribution="uniform")


def test_rigid_nm_has_its_quota_in_every_window(split: Split) -> None:
    arm, job = arm_before_training("nm", "mnist", split)
    trained(arm, split, job)
    assert arm.perforator is not None
    windows = arm.perforator.modules["fc2"].mask.view(256, -1, 32).sum(dim=-1)
    assert (windows == 3).all()


@pytest.mark.parametrize(("name", "factor"), [("dense-half-rate", 0.5), ("dense-double-rate", 2)])
def test_rates_are_those_of_the_reference_job_times_a_factor(name: str, factor: float, split: Split) -> None:
    arm, job = arm_before_training(name, "mnist", split)
    trained(arm, split, job, until=1)
    assert arm.optimizer.param_groups[0]["lr"] == factor * 1e-3
    assert arm.perforator is None


@pytest.mark.skipif(ARMS["perforatedai"].installed, reason="PerforatedAI is installed")
def test_an_arm_whose_package_is_missing_is_said_to_be_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["accuracy.py", "--arms", "perforatedai", "--list"])
    accuracy.main()
    assert "perforatedai is not measured: perforatedai is not installed" in capsys.readouterr().out


# Rows.


def row(test_accuracy: float = 98.0, **cell: Any) -> dict[str, Any]:
    key = {"dataset": "mnist", "arm": "slots", "sparsity": 0.9, "schedule": "constant", "epochs": 6, "seed": 0, **cell}
    return {
        **key,
        **Cell(**key).settings(),
        "data": "official MNIST",
        "validation_accuracy": test_accuracy,
        "test_accuracy": test_accuracy,
        "engine_test_accuracy": test_accuracy,
        "active_parameters": 27_406,
        "test_images": 10_000,
    }


def test_rows_are_current_while_their_arm_is_what_it_was(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "study.json"
    results = StudyFile(file)
    results.add(row())
    results.add(row(arm="dense", sparsity=0.0))
    results = StudyFile(file)
    asked = [cell_of(row()), cell_of(row()), cell_of(row(seed=1)), cell_of(row(arm="dense", sparsity=0.0))]
    assert results.missing(asked) == [cell_of(row(seed=1))]

    monkeypatch.setitem(ARMS, "slots", ArmDefinition(recipe=accuracy_arms.unstructured))
    assert [stale["arm"] for stale in results.stale()] == ["slots"]
    assert [current["arm"] for current in results.current()] == ["dense"]
    assert results.missing(asked) == [cell_of(row()), cell_of(row(seed=1))]
    results.add(row(97.0))
    assert [(r["arm"], r["test_accuracy"]) for r in StudyFile(file).rows] == [("dense", 98.0), ("slots", 97.0)]
    assert StudyFile(file).stale() == []

    # Not deleted from the arms, which would put it back at their end.
    monkeypatch.setattr(accuracy_rows, "ARMS", {name: arm for name, arm in ARMS.items() if name != "dense"})
    assert not is_current(row_of_file(file, 0))


def row_of_file(file: Path, index: int) -> dict[str, Any]:
    return dict(json.loads(file.read_text())["rows"][index])


def test_a_row_keeps_its_commit_and_names_its_environment(tmp_path: Path) -> None:
    file = tmp_path / "study.json"
    StudyFile(file).add(row())
    StudyFile(file).add(row(seed=1))
    contents = json.loads(file.read_text())
    (name,) = contents["environments"]
    assert "commit" not in contents["environments"][name]
    assert all(each["environment"] == name and "commit" in each for each in contents["rows"])


def test_a_file_in_no_folder_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"nowhere is not a folder: make it, or choose another --json FILE"):
        StudyFile(tmp_path / "nowhere" / "study.json")


def test_rows_on_other_data_are_not_mixed_in(tmp_path: Path) -> None:
    results = StudyFile(tmp_path / "study.json")
    results.add(row())
    with pytest.raises(SystemExit, match=r"rows on official MNIST, this one is on Fashion: choose another"):
        results.add({**row(seed=1), "data": "Fashion"})


def test_a_field_that_recipes_have_gained_need_not_make_rows_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    old = row()
    recipe = json.loads(old["recipe"])
    drop = recipe["schedule"].pop("drop_fraction")
    old["recipe"] = json.dumps({**recipe, "version": 0})
    assert not is_current(old)
    monkeypatch.setattr(accuracy_rows, "FIELDS_ADDED_TO_RECIPES", {"schedule.drop_fraction": drop})
    assert is_current(old)


def test_a_field_that_recipes_call_otherwise_now_does_not_make_rows_stale() -> None:
    old = row()
    recipe = json.loads(old["recipe"])
    exponent = recipe.pop("lr_density_exponent")
    assert is_current({**old, "recipe": json.dumps({**recipe, "step_exponent": exponent})})
    assert not is_current({**old, "recipe": json.dumps({**recipe, "step_exponent": 0.25})})


@pytest.mark.parametrize(("value", "current"), [("gradient", True), ("cascade", False)])
def test_a_field_that_recipes_have_lost_makes_rows_stale_where_it_meant_something(value: str, current: bool) -> None:
    old = row(arm="slots-grown")
    recipe = json.loads(old["recipe"])
    recipe["growth"] |= {"training": value, "cascade": 0.03}
    assert is_current({**old, "recipe": json.dumps(recipe)}) == current


def test_a_raised_revision_makes_rows_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    first, sparse = row(arm="dense", sparsity=0.0), row()
    del first["revision"]
    assert is_current(first)
    assert is_current(sparse)
    monkeypatch.setattr(accuracy_arms, "DENSE_REVISION", accuracy_arms.DENSE_REVISION + 1)
    assert not is_current(first)
    assert is_current(sparse)
    assert is_current(row(arm="dense", sparsity=0.0))
    monkeypatch.setattr(accuracy_arms, "SPARSE_REVISION", accuracy_arms.SPARSE_REVISION + 1)
    assert not is_current(sparse)


def test_plans_hold_what_the_issue_asks_for() -> None:
    cells = list(PLANS["mnist"]())
    assert sum((cell.arm, cell.sparsity, cell.schedule) == ("slots", 0.9, "constant") for cell in set(cells)) == 20
    for schedule in ("constant", "cosine"):
        for arm in ("slots", "unstructured", "magnitude", "small-dense", "static-random"):
            for sparsity in (0.5, 0.7, 0.8, 0.9, 0.95, 0.98):
                assert Cell("mnist", arm, sparsity, schedule, 6, 4) in cells
    cells = list(PLANS["cifar10"]())
    at_90 = {
        cell.arm for cell in cells if (cell.epochs, cell.schedule) == (6, "constant") and cell.sparsity in (0, 0.9)
    }
    assert at_90 >= {*MAIN, *CONTROLS, "slots-grown"} - {"nm"}
    assert any(cell.arm == "nm" for cell in cells)
    assert Cell("cifar10", "slots", 0.9, "constant", 15, 4) in cells


# Training that computes something else.


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scratch")


@pytest.mark.parametrize("cell", training_fingerprints.cells(), ids=training_fingerprints.name)
def test_training_computes_what_the_study_s_rows_rest_on(cell: Cell, scratch: Path) -> None:
    known = training_fingerprints.recorded(training_fingerprints.load(), cell)
    if known is None:
        here = ", ".join(map(str, training_fingerprints.here().values()))
        pytest.skip(f"no fingerprint for {here}: `python bench/training_fingerprints.py` records it")
    assert training_fingerprints.fingerprint(cell, scratch) == known, training_fingerprints.what_to_do(cell)


def test_there_are_fingerprints_of_todays_arms_and_revisions() -> None:
    absent = {*training_fingerprints.cells()} - {cell_of(row) for row in training_fingerprints.load()}
    assert not absent, f"run `python bench/training_fingerprints.py`: it has none of {', '.join(map(str, absent))}"


SLOTS = Cell("mnist", "slots", 0.9, "constant", training_fingerprints.STEPS, 0)


def test_a_fingerprint_sees_a_rounding_in_a_kernel_and_no_sign_of_a_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = torch.tensor([0.0, 1.0]), torch.tensor([-0.0, 1.0]), torch.tensor([0.0, 1.0000001])
    zero, negative_zero, next_number = (training_fingerprints.hash_of([each]) for each in weights)
    assert zero == negative_zero != next_number
    exact = dispatch.compute
    hashes = []
    for factor in (1.0, 1 + 2**-23):
        monkeypatch.setattr(dispatch, "compute", lambda *given, factor=factor: exact(*given) * factor)
        with tempfile.TemporaryDirectory() as scratch:
            hashes.append(training_fingerprints.fingerprint(SLOTS, Path(scratch)))
    assert hashes[0] != hashes[1]


@pytest.mark.usefixtures("only_dense_kernels")
def test_a_fingerprint_of_dense_kernels_is_refused(scratch: Path) -> None:
    with pytest.raises(RuntimeError, match=r"mnist, slots: its synapses alone compute 0 layers"):
        training_fingerprints.fingerprint(SLOTS, scratch)


def test_a_fingerprint_is_replaced_once_the_revision_is_raised(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "fingerprints.json"
    monkeypatch.setattr(training_fingerprints, "FILE", file)
    monkeypatch.setattr(training_fingerprints, "ARMS_OF", {"mnist": ("dense",)})
    training_fingerprints.main([])
    training_fingerprints.main([])
    (recorded,) = json.loads(file.read_text())["rows"]
    other = {**recorded, "sha256": "of what training computed once"}
    file.write_text(json.dumps({"rows": [other]}))
    with pytest.raises(SystemExit, match=r"other weights than at DENSE_REVISION 1\. .* raise DENSE_REVISION in bench"):
        training_fingerprints.main([])
    assert json.loads(file.read_text())["rows"] == [other]
    monkeypatch.setattr(accuracy_arms, "DENSE_REVISION", accuracy_arms.DENSE_REVISION + 1)
    training_fingerprints.main([])
    assert json.loads(file.read_text())["rows"] == [{**recorded, "revision": accuracy_arms.DENSE_REVISION}]


# Statistics.


@pytest.mark.parametrize(
    ("probability", "degrees", "quantile"),
    [(0.95, 1, 6.314), (0.975, 2, 4.303), (0.95, 3, 2.353), (0.975, 4, 2.776), (0.95, 19, 1.729), (0.975, 30, 2.042)],
)
def test_student_t_is_that_of_the_tables(probability: float, degrees: int, quantile: float) -> None:
    assert student_t(probability, degrees) == pytest.approx(quantile, abs=6e-4)


def test_paired_differences_against_a_hand_computed_one() -> None:
    """Differences 1, 2 and 3: mean 2, deviation 1, standard error 1 / sqrt(3)."""
    gap = paired({0: 11.0, 1: 12.0, 2: 13.0, 7: 0.0}, {2: 10.0, 1: 10.0, 0: 10.0, 8: 99.0})
    assert gap is not None
    assert (gap.mean, gap.deviation, gap.seeds) == (2.0, 1.0, 3)
    assert gap.margin == pytest.approx(4.3027 / 3**0.5, abs=1e-3)
    assert gap.lower == pytest.approx(2 - 2.9200 / 3**0.5, abs=1e-3)
    assert gap.upper == pytest.approx(2 + 2.9200 / 3**0.5, abs=1e-3)
    assert paired({0: 1.0}, {1: 1.0}) is None
    assert paired({0: 1.0}, {0: 3.0}) == (-2.0, None, None, None, None, 1)


# Report.


def test_the_report_of_a_small_study(tmp_path: Path) -> None:
    results = StudyFile(tmp_path / "study-mnist.json")
    for seed in range(5):
        results.add(row(97.0 + seed / 10, arm="dense", sparsity=0.0, seed=seed))
        results.add(row(98.0 + seed / 10, seed=seed))
    for seed in range(2):
        results.add(row(97.5 + 2 * seed / 10, arm="unstructured", seed=seed))
    results.add({**row(10.0, arm="magnitude"), "learning_rate": 1.0})
    timed = [{**cell, "latency_us_median": 1.5} for cell in (row(98.0), row(97.0, arm="dense", sparsity=0.0))]
    timed.append({**row(98.0, seed=1), "latency_us_median": 99.0})  # of a model that has given way to another
    pages = report([results], timed, tmp_path)
    assert "[MNIST](study/mnist.md)" in pages["study.md"]
    text = pages["study/mnist.md"]
    assert "## MNIST, 6 epochs, constant learning rate" in text
    assert "| slots | 90 % | 27,406 | 98.20 | 98.20 ± 0.16 | +1.00 [+1.00, +1.00] | 35.7 % | 5 | 1.5 |" in text
    assert (
        "| unstructured | 90 % | 27,406 | 97.60 | 97.60 ± 0.14 | +0.55 [-0.09, +1.19] | 18.6 % | 2 (few) |  |" in text
    )
    assert "| slots - unstructured | 90 % | +0.45 | 0.07 | +0.13, +0.77 | 2 (few) |" in text
    assert "| magnitude | 90 % |  |  |  |  |  |  |  |" in text, "a stale row is no row, a planned cell stays empty"
    assert {file.name for file in tmp_path.glob("*.svg")} == {
        "accuracy-synapses-mnist-constant-6.svg",
        "accuracy-latency-mnist-constant-6.svg",
    }
    first = (tmp_path / "accuracy-synapses-mnist-constant-6.svg").read_bytes()
    report([results], timed, tmp_path)
    assert (tmp_path / "accuracy-synapses-mnist-constant-6.svg").read_bytes() == first


def test_the_report_names_the_commits_of_each_line_and_the_lines_whose_rows_are_stale(tmp_path: Path) -> None:
    results = StudyFile(tmp_path / "study-mnist.json")
    commits = ["0123456789ab", "0123456789ab", "fedcba987654-dirty"]
    results.rows = [{**row(seed=seed), "commit": commit, "environment": "x"} for seed, commit in enumerate(commits)]
    assert "## Stale rows" not in report([results], [], tmp_path)["study.md"]
    earlier = [(0.9, 3), (0.9, 4), (0.95, 0), (0.123, 0)]  # the last one is in no plan
    for sparsity, seed in earlier:
        results.rows.append({**row(sparsity=sparsity, seed=seed), "revision": 1, "commit": "0" * 12})
    text = "".join(report([results], [], tmp_path).values())
    assert re.search(r"\| slots \| 90 % \|.*\| 3 \(few\) \|  \| 0123456, fedcba9-dirty \|", text)
    assert "4 rows were measured with other settings than today's" in text
    assert "3 of them are of planned lines" in text
    assert "| MNIST, 6 epochs, constant learning rate | slots | 90 % (2), 95 % (1) |" in text
    assert "0000000" not in text
    assert "12.3 %" not in text
