"""The benchmark as a user runs it: ``python main.py``, its files, its errors, its interruption."""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
from PIL import Image

import sparbor
from bench import data
from bench.data import cache
from bench.data.idx import encode_idx
from bench.job import contest, experiment, rapl, report, runtimes
from bench.job.command import main as benchmark_main
from sparbor.allocation.shares import erk_densities
from sparbor.cli.program import main
from sparbor.errors import OutputError
from sparbor.termination import Terminated

REPOSITORY = Path(__file__).resolve().parent.parent
# Two threads of OpenMP that wait for each other on a busy machine take many times as long as one.
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}
MAIN = [sys.executable, str(REPOSITORY / "main.py")]
RESULTS = ["PAI.png", "metrics.json", "model.safetensors", "report.html"]


def run_main(*options: str, **kwargs: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*MAIN, *options], capture_output=True, text=True, timeout=280, env=ONE_THREAD, **kwargs)


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory, mnist_dir: Path) -> tuple[Path, str]:
    """Real MNIST, one epoch: the directory of results and what the run printed."""
    out = tmp_path_factory.mktemp("run") / "PAI"
    result = run_main("--epochs", "1", "--out", str(out), "--data-dir", str(mnist_dir))
    assert result.returncode == 0, result.stderr
    return out, result.stdout


def read_metrics(out: Path) -> dict[str, Any]:
    metrics: dict[str, Any] = json.loads((out / "metrics.json").read_text())
    return metrics


def test_one_epoch_of_real_mnist_learns_and_reaches_its_sparsity(finished_run: tuple[Path, str]) -> None:
    metrics = read_metrics(finished_run[0])
    assert metrics["data"]["official"]
    assert metrics["data"]["training_images"] == 54_000
    assert metrics["data"]["validation_images"] == 6_000
    assert metrics["data"]["test_images"] == 10_000
    for arm in ("baseline", "dendritic"):
        assert metrics[arm]["test_accuracy_percent"] > 93
        assert len(metrics[arm]["epochs"]) == 1
    dropped = sum(layer["weights"] - layer["active_weights"] for layer in metrics["dendritic"]["layers"])
    assert sum(layer["active_weights"] for layer in metrics["dendritic"]["layers"]) == pytest.approx(26_880, abs=16)
    assert metrics["dendritic"]["total_parameters"] - metrics["dendritic"]["active_parameters"] == dropped
    assert metrics["baseline"]["active_parameters"] == metrics["baseline"]["total_parameters"] == 269_322
    assert metrics["baseline"]["sparsity"] is None


def test_metrics_agree_with_a_recount_of_the_saved_model(finished_run: tuple[Path, str], mnist_dir: Path) -> None:
    out, _ = finished_run
    metrics = read_metrics(out)
    runtime = sparbor.load(out / "model.safetensors")
    active = weights = biases = 0
    for layer in metrics["dendritic"]["layers"]:
        packed = runtime.program.layers[layer["name"]]
        values, mask = packed.unpack()  # of a layer that is faster dense on this machine the mask is all ones
        kept = int(np.count_nonzero(values[mask]))
        assert list(mask.shape) == layer["shape"]
        assert kept == layer["active_weights"]
        active += kept
        weights += mask.size
        biases += len(packed.bias)
    assert metrics["dendritic"]["active_parameters"] == active + biases
    assert metrics["dendritic"]["sparsity"] == pytest.approx(1 - active / weights)
    assert [layer["active"] for layer in metrics["deployed"]["layers"]] == [
        layer["active_weights"] for layer in metrics["dendritic"]["layers"]
    ]

    mnist = data.load("mnist", mnist_dir)
    images = ((mnist.test_images / np.float32(255) - 0.1307) / 0.3081).astype(np.float32)
    accuracy = 100 * (runtime(images).argmax(axis=1) == mnist.test_labels).mean()
    assert accuracy == pytest.approx(metrics["deployed"]["test_accuracy_percent"], abs=0.011)
    assert abs(accuracy - metrics["dendritic"]["test_accuracy_percent"]) <= 0.05


def test_metrics_have_the_documented_keys_and_no_others(finished_run: tuple[Path, str]) -> None:
    documented = (REPOSITORY / "docs" / "metrics.md").read_text()
    metrics = read_metrics(finished_run[0])
    nested = [metrics[part] for part in ("data", "environment", "training", "baseline", "dendritic")]
    nested += [metrics["baseline"]["runtimes"]["torch"], metrics["dendritic"]["layers"][0], metrics["deployed"]]
    nested += [metrics["deployed"]["layers"][0], {"onnxruntime": None}, metrics["baseline"]["runtimes"]]
    nested += [metrics["deployed_as"], metrics["dendritic"]["epochs"][0], metrics["dendritic"]["densities"][0]]
    for name in {name for part in [metrics, *nested] for name in part}:
        assert f"`{name}`" in documented, name


def test_every_figure_was_measured(finished_run: tuple[Path, str]) -> None:
    metrics = read_metrics(finished_run[0])
    for arm in ("baseline", "dendritic"):
        assert {"torch", "sparbor", "sparbor_int8"} <= set(metrics[arm]["runtimes"])
        for figures in metrics[arm]["runtimes"].values():
            assert 0 < figures["latency_us_median"] <= figures["latency_us_p95"]
            if sys.platform == "linux":
                assert 0 < figures["memory_growth_bytes"] < figures["process_peak_bytes"]
                assert 0 < figures["memory_code_bytes"] < figures["memory_growth_bytes"]
        assert metrics[arm]["runtimes"]["torch"]["stored_bytes"] > metrics[arm]["weight_bytes"] == 4 * 269_322
    assert 14 * metrics["dendritic"]["runtimes"]["sparbor"]["stored_bytes"] < 4 * 269_322
    assert metrics["deployed"] == metrics["deployed_as"]["word16"]
    for each in metrics["deployed_as"].values():
        assert 0 < each["relative_error"] < 3 * 0.008
        assert each["test_accuracy_percent"] == pytest.approx(metrics["dendritic"]["test_accuracy_percent"], abs=0.1)
    error = {arm: 100 - metrics[arm]["test_accuracy_percent"] for arm in ("baseline", "dendritic")}
    expected = (error["baseline"] - error["dendritic"]) / error["baseline"]
    assert metrics["remaining_error_reduction"] == pytest.approx(expected)


def test_what_training_cost(finished_run: tuple[Path, str]) -> None:
    """One epoch of 54,000 images; a tenth of the dendritic model's steps are dense, its last ones 90 % sparse."""
    out, printed = finished_run
    metrics = read_metrics(out)
    dense = 54_000 * (2 * 784 * 256 + 3 * (256 * 256 + 256 * 10))
    assert metrics["baseline"]["training_multiply_adds"] == dense
    assert 0.3 * dense < metrics["dendritic"]["training_multiply_adds"] < 0.6 * dense
    for arm in ("baseline", "dendritic"):
        for name in ("seconds", "cpu_seconds", "multiply_adds", "energy_joules"):
            assert metrics[arm][f"training_{name}"] == metrics[arm]["epochs"][0][name]
        assert 0 < metrics[arm]["training_cpu_seconds"] < 1.1 * metrics[arm]["training_seconds"]  # on one thread
    energy = [metrics[arm]["training_energy_joules"] for arm in ("baseline", "dendritic")]
    if rapl.counters_uj(rapl.packages()) is None:
        assert energy == [None, None]
        assert re.search(r"energy \(J\) +│ not measurable here │ not measurable here │", printed)
    else:
        assert all(joules > 0 for joules in energy)
    assert re.search(rf"active multiply-adds \(10⁹\) +│ +{dense / 1e9:.1f} │", printed)


@pytest.fixture(scope="module")
def cifar10_run(tmp_path_factory: pytest.TempPathFactory, small_cifar10: Path) -> tuple[dict[str, Any], Path, str]:
    """A small image folder, one epoch: metrics, the directory of results and what the run printed."""
    directory = tmp_path_factory.mktemp("cifar10")
    options = ["--dataset", "cifar10", "--epochs", "1", "--out", str(directory / "PAI")]
    command = [*MAIN, *options, "--data-dir", str(small_cifar10)]
    environment = {**ONE_THREAD, "XDG_CACHE_HOME": str(directory), "COLUMNS": "300"}
    result = subprocess.run(command, capture_output=True, text=True, timeout=280, env=environment)
    assert result.returncode == 0, result.stderr
    return read_metrics(directory / "PAI"), directory / "PAI", result.stdout


def test_the_cnn_is_trained_measured_and_deployed(cifar10_run: tuple[dict[str, Any], Path, str]) -> None:
    metrics, out, _ = cifar10_run
    assert metrics["dataset"] == "cifar10"
    assert [layer["name"] for layer in metrics["dendritic"]["layers"]] == ["conv1", "conv2", "fc1", "fc2"]
    layers = metrics["dendritic"]["layers"]
    densities = erk_densities([layer["shape"] for layer in layers], 0.1)
    for layer, density in zip(layers, densities, strict=True):
        assert abs(layer["active_weights"] - density * layer["weights"]) < 16
    assert abs(metrics["dendritic"]["sparsity"] - 0.9) < 1e-4
    assert metrics["dendritic"]["total_parameters"] == 2_122_186
    for arm in ("baseline", "dendritic"):
        assert {"torch", "sparbor", "sparbor_int8"} <= set(metrics[arm]["runtimes"])
        assert all(figures["latency_us_median"] > 0 for figures in metrics[arm]["runtimes"].values())
    assert 0 < metrics["deployed"]["relative_error"] < 4 * 0.008
    assert 12 * (out / "model.safetensors").stat().st_size < 4 * 2_122_186
    assert sorted(path.name for path in out.iterdir()) == RESULTS


def test_the_deployed_cnn_takes_raw_bytes(
    cifar10_run: tuple[dict[str, Any], Path, str], small_cifar10: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    metrics, out, _ = cifar10_run
    monkeypatch.setattr(cache, "cache_dir", lambda: tmp_path)
    images = data.load("cifar10", small_cifar10)
    scores = sparbor.load(out / "model.safetensors")(images.test_images)
    accuracy = 100 * (scores.argmax(axis=1) == images.test_labels).mean()
    assert accuracy == pytest.approx(metrics["deployed"]["test_accuracy_percent"])


def test_the_report_says_which_data_it_rests_on(
    cifar10_run: tuple[dict[str, Any], Path, str], small_cifar10: Path
) -> None:
    metrics, _, printed = cifar10_run
    assert metrics["data"]["source"] == f"{small_cifar10} (PNG image folder, not the official CIFAR-10)"
    assert not metrics["data"]["official"]
    assert f"Data: {metrics['data']['source']}." in " ".join(printed.split())  # the table breaks lines
    assert metrics["data"]["title"] == f"cifar10 (not the official bytes: {small_cifar10.name})"
    assert re.search(rf"^ *{re.escape(metrics['data']['title'])}, 1 epochs *$", printed, flags=re.MULTILINE)
    assert report._plot_title(metrics).splitlines()[::2] == [
        metrics["data"]["title"],
        "(PNG image folder, not the official CIFAR-10)",
    ]
    assert re.search(r"│ +conv2 +│ +– │ +75\.\d\d % │", printed)  # ERK leaves it denser than fc1


def test_plot_and_table(finished_run: tuple[Path, str]) -> None:
    out, printed = finished_run
    with Image.open(out / "PAI.png") as plot:
        plot.load()
        assert plot.size == (1200, 900)
        colours = plot.convert("RGB").getcolors(maxcolors=1 << 20)
    assert colours is not None
    assert {(127, 127, 127), (31, 119, 180), (214, 39, 40)} <= {colour for _, colour in colours}  # the three lines
    assert re.search(r"^ *mnist, 1 epochs *$", printed, flags=re.MULTILINE)
    assert report._plot_title(read_metrics(out)).startswith("mnist: 90.0% sparse, test accuracy ")
    for text in ("test accuracy", "active parameters", "A mask alone saves nothing", "Sparbor engine", "metrics.json"):
        assert text in printed
    assert sorted(path.name for path in out.iterdir()) == RESULTS


def test_two_epochs_reach_their_sparsity_and_the_same_seed_the_same_result(
    small_mnist: Path, tmp_path: Path, older_results: Path
) -> None:
    """The second run replaces what an older one left, its partial results too."""
    (older_results / "metrics.partial.json").write_text("{}")
    options = ["--epochs", "2", "--sparsity", "0.8", "--seed", "3", "--data-dir", str(small_mnist), "--out"]
    assert benchmark_main([*options, str(tmp_path / "a")]) == 0
    assert benchmark_main([*options, str(older_results)]) == 0
    assert not (older_results / "metrics.partial.json").exists()
    outs = (tmp_path / "a", older_results)
    runs = [(read_metrics(out), (out / "model.safetensors").read_bytes()) for out in outs]
    layers = runs[0][0]["dendritic"]["layers"]
    assert sum(layer["active_weights"] for layer in layers) == pytest.approx(0.2 * 268_800, abs=16)
    assert not runs[0][0]["data"]["official"]
    assert runs[0][1] == runs[1][1]


def test_a_budget_in_place_of_a_sparsity(small_mnist: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    options = ["--epochs", "1", "--kilobytes", "40", "--data-dir", str(small_mnist), "--out", str(tmp_path)]
    assert benchmark_main(options) == 0
    assert "kilobytes, modelled" in capfd.readouterr().out
    metrics = read_metrics(tmp_path)
    recipe = sparbor.Recipe.from_dict(metrics["recipe"])
    assert recipe.sparsity is None
    assert recipe.budget is not None
    assert recipe.budget.kilobytes == 40
    assert [layer["name"] for layer in metrics["recipe"]["budget"]["costs"]["layers"]] == ["fc1", "fc2", "fc3"]
    assert abs(metrics["dendritic"]["cost"] - 40) <= 0.016
    stored = sum(layer["bytes"] for layer in metrics["deployed"]["layers"]) / 1000
    assert 36 < stored <= metrics["dendritic"]["cost"]


def test_grown_dendrites_are_trained_measured_marked_and_deployed(
    small_mnist: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    options = ["--epochs", "2", "--dendrites", "2", "--data-dir", str(small_mnist), "--out", str(tmp_path)]
    assert benchmark_main(options) == 0
    printed = capsys.readouterr().out
    metrics = read_metrics(tmp_path)
    growth = metrics["dendritic"]["growth"]
    assert [(event["generation"], event["what"]) for event in growth] == [(0, "grown"), (1, "grown")]
    assert [event["step"] for event in growth] == [2, 8]  # of 20: at the switch, and halfway to the final sparsity
    assert metrics["baseline"]["growth"] == []
    assert sparbor.Recipe.from_dict(metrics["recipe"]).growth == sparbor.Growth(2, at=(0.1, 0.1 + 0.65 / 2))
    documented = (REPOSITORY / "docs" / "metrics.md").read_text()
    assert all(f"`{name}`" in documented for name in growth[0])

    layers = {layer["name"]: layer for layer in metrics["dendritic"]["layers"]}
    assert "fc1.dendrites.1.earlier" in layers
    assert len(layers) == 3 * (1 + 1 + 2)
    assert sum(layer["active_weights"] for layer in layers.values()) == pytest.approx(0.1 * 268_800, abs=16 * 12)
    assert metrics["dendritic"]["sparsity"] == pytest.approx(0.9, abs=0.001)
    parameters = sum(layer["weights"] for layer in layers.values()) + 522 * (1 + 2 * 2)
    assert metrics["dendritic"]["total_parameters"] == parameters
    assert [layer["name"] for layer in metrics["deployed"]["layers"]] == list(layers)
    assert all(name in printed for name in layers)
    assert main(["inspect", str(tmp_path / "model.safetensors")]) == 0
    assert all(name in capsys.readouterr().out for name in ["fc1.dendrites.0.inputs"])
    with Image.open(tmp_path / "PAI.png") as plot:
        colours = plot.convert("RGB").getcolors(maxcolors=1 << 20)
    assert colours is not None
    assert (44, 160, 44) in {colour for _, colour in colours}, "growths are marked in green"


@pytest.fixture
def older_results(tmp_path: Path) -> Path:
    out = tmp_path / "PAI"
    out.mkdir()
    for name in RESULTS:
        (out / name).write_text("older")
    return out


def check_older_results(out: Path, *also: str) -> None:
    assert sorted(path.name for path in out.iterdir()) == sorted([*RESULTS, *also])
    for name in RESULTS:
        assert (out / name).read_text() == "older"


@pytest.mark.parametrize(
    ("images", "labels", "text"),
    [
        ((40, 5, 5), range(10), r"holds images of \(5, 5\), the network takes \(28, 28\); name another --data-dir"),
        ((44, 28, 28), range(11), r"holds labels up to 10, the network tells 10 classes apart"),
        ((9, 28, 28), range(9), r"holds 9 training images, at least 10 are needed"),
    ],
)
def test_data_that_does_not_fit_the_network(
    images: tuple[int, int, int], labels: range, text: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for prefix in ("train", "t10k"):
        (tmp_path / f"{prefix}-images-idx3-ubyte").write_bytes(encode_idx(np.zeros(images, np.uint8)))
        repeated = np.resize(np.array(labels, np.uint8), images[0])
        (tmp_path / f"{prefix}-labels-idx1-ubyte").write_bytes(encode_idx(repeated))
    assert benchmark_main(["--out", str(tmp_path / "PAI"), "--data-dir", str(tmp_path)]) == 2
    assert re.search(text, capfd.readouterr().err)


@contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """Writing beyond ``size`` bytes fails, as on a full disk."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_ends_the_run_in_one_line(
    small_mnist: Path, older_results: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with files_limited_to(200_000):
        status = benchmark_main(["--epochs", "1", "--out", str(older_results), "--data-dir", str(small_mnist)])
    assert status == 2
    assert re.fullmatch(
        r"main.py: error: .*checkpoint.pt. could not be written \(File too large\): make room.*\n",
        capfd.readouterr().err,
    )
    check_older_results(older_results)


@pytest.mark.parametrize("too_large", ["model.safetensors", "PAI.png"])
def test_results_are_published_together_or_not_at_all(
    too_large: str, finished_run: tuple[Path, str], older_results: Path
) -> None:
    """The model is written first, and the plot is larger."""
    room = (finished_run[0] / too_large).stat().st_size - 1
    metrics = read_metrics(finished_run[0])
    runtime = sparbor.load(finished_run[0] / "model.safetensors")
    with (
        files_limited_to(room),
        pytest.raises(OutputError, match=r"could not be written .*older results are unchanged"),
    ):
        report.publish(older_results, metrics, runtime)
    check_older_results(older_results)


def test_results_that_cannot_be_moved_in_leave_the_older_ones(
    finished_run: tuple[Path, str], older_results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second of three moves fails: a directory has appeared in the plot's place since the run began."""
    (older_results / "PAI.png").unlink()
    (older_results / "PAI.png").mkdir()
    runtime = sparbor.load(finished_run[0] / "model.safetensors")
    with pytest.raises(OutputError, match=r"could not be written .*older results are unchanged"):
        report.publish(older_results, read_metrics(finished_run[0]), runtime)
    assert (older_results / "model.safetensors").read_text() == "older"
    assert (older_results / "metrics.json").read_text() == "older"
    assert sorted(path.name for path in older_results.iterdir()) == RESULTS


def test_a_directory_in_a_results_place_is_found_before_training(
    small_mnist: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "PAI.png").mkdir()
    assert benchmark_main(["--out", str(tmp_path), "--data-dir", str(small_mnist)]) == 2
    assert "PAI.png is a directory there; remove it" in capfd.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["PAI.png"]


def test_a_rival_that_fails_is_not_measured_and_costs_no_results(
    small_mnist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("this rival is broken")

    broken = dataclasses.replace(runtimes.CONTESTANTS["onnxruntime"], packages=(), store=fail)
    monkeypatch.setitem(runtimes.CONTESTANTS, "onnxruntime", broken)
    assert benchmark_main(["--epochs", "1", "--out", str(tmp_path), "--data-dir", str(small_mnist)]) == 0
    metrics = read_metrics(tmp_path)
    assert metrics["not_measured"] == {"onnxruntime": "this rival is broken"}
    assert set(metrics["baseline"]["runtimes"]) == {"torch", "sparbor", "sparbor_int8"}
    assert "ONNX Runtime: not measured" in capfd.readouterr().out


def test_a_rival_that_is_not_installed_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    absent = dataclasses.replace(runtimes.CONTESTANTS["onnxruntime"], packages=("no-such-runtime", "onnx-less"))
    monkeypatch.setitem(runtimes.CONTESTANTS, "onnxruntime", absent)
    image = torch.zeros(1, 28, 28)
    with pytest.raises(ModuleNotFoundError, match=r"^not installed, run `pip install no-such-runtime onnx-less`$"):
        contest._prepare("onnxruntime", "mnist", {}, image, image, tmp_path)


def test_onnxruntime_takes_part_where_it_is_installed(finished_run: tuple[Path, str]) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    metrics = read_metrics(finished_run[0])
    assert metrics["not_measured"] == {}
    assert metrics["baseline"]["runtimes"]["onnxruntime"]["latency_us_median"] > 0


WITHOUT_ENGINE = "import sys; sys.modules['sparbor._native'] = None\n"


def test_without_the_engine_training_works_and_the_benchmark_says_how_to_build_it(tmp_path: Path) -> None:
    train = (
        "import torch, sparbor\n"
        "model = torch.nn.Sequential(torch.nn.Linear(64, 32))\n"
        "optimizer = torch.optim.Adam(model.parameters())\n"
        "perforator = sparbor.perforate(model, optimizer, total_steps=3)\n"
        "for _ in range(3):\n"
        "    model(torch.randn(4, 64)).sum().backward(); optimizer.step(); optimizer.zero_grad()\n"
        "print(perforator.density() < 0.11)"
    )
    trained = subprocess.run([sys.executable, "-c", WITHOUT_ENGINE + train], capture_output=True, text=True)
    assert trained.stdout == "True\n", trained.stderr
    benchmark = f"from bench.job.command import main; sys.exit(main(['--out', {str(tmp_path / 'PAI')!r}]))"
    command = [sys.executable, "-c", WITHOUT_ENGINE + benchmark]
    refused = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY)
    assert refused.returncode == 2
    assert re.fullmatch(r"main.py: error: .*engine is not built.*install.*\n", refused.stderr), refused.stderr
    assert not (tmp_path / "PAI").exists()


ENDINGS = [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]


def start_main(*options: str, **environment: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*MAIN, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**ONE_THREAD, **environment},
        # A shell that runs the tests in the background has them, and so their children, ignore the signal.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait_until(holds: Callable[[], object], process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 200
    while not holds():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.skipif(os.name != "posix", reason="sends a POSIX signal")
@pytest.mark.parametrize(("number", "status", "what"), ENDINGS)
def test_interrupt_keeps_finished_epochs(
    number: signal.Signals, status: int, what: str, mnist_dir: Path, older_results: Path
) -> None:
    process = start_main("--epochs", "500", "--out", str(older_results), "--data-dir", str(mnist_dir))
    partial = older_results / "metrics.partial.json"
    wait_until(lambda: partial.exists() and json.loads(partial.read_text())["dendritic"]["epochs"], process)
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    assert process.returncode == status
    assert error.splitlines()[-1] == (
        f"main.py: {what}; finished epochs are in {partial}, --resume goes on after them; older results are unchanged"
    )
    assert "Traceback" not in error
    metrics = json.loads(partial.read_text())
    assert len(metrics["baseline"]["epochs"]) == len(metrics["dendritic"]["epochs"]) >= 1
    check_older_results(older_results, "metrics.partial.json", "checkpoint.pt")
    assert torch.load(older_results / "checkpoint.pt", weights_only=True)["state"].keys() == {"baseline", "dendritic"}


@pytest.mark.parametrize(
    ("interrupt", "status", "what"), [(KeyboardInterrupt, 130, "interrupted"), (Terminated, 143, "terminated")]
)
def test_an_interrupt_before_the_first_epoch_is_done_promises_nothing_and_keeps_what_an_older_run_left(
    interrupt: type[KeyboardInterrupt],
    status: int,
    what: str,
    small_mnist: Path,
    older_results: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def train(*_: object) -> NoReturn:
        raise interrupt

    monkeypatch.setattr(experiment, "train", train)
    (older_results / "metrics.partial.json").write_text("of another run")
    assert benchmark_main(["--epochs", "2", "--out", str(older_results), "--data-dir", str(small_mnist)]) == status
    assert capfd.readouterr().err.splitlines()[-1] == (
        f"main.py: {what}; no epoch was finished and nothing has been saved yet, start the run anew;"
        " older results are unchanged"
    )
    check_older_results(older_results, "metrics.partial.json")
    assert (older_results / "metrics.partial.json").read_text() == "of another run"


@pytest.mark.skipif(sys.platform != "linux", reason="finds the child in /proc")
def test_sigterm_while_runtimes_are_measured_leaves_neither_child_nor_folder(small_mnist: Path, tmp_path: Path) -> None:
    out, temporary = tmp_path / "PAI", tmp_path / "temporary"
    temporary.mkdir()
    options = ("--epochs", "1", "--out", str(out), "--data-dir", str(small_mnist))

    def children() -> list[str]:
        """The commands that measure memory: they name a model in the folder."""
        commands = []
        for file in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):  # it may have ended by now
                commands.append(file.read_bytes().decode(errors="replace"))
        return [each for each in commands if "memory_probe" in each and f"{temporary}/sparbor-" in each]

    process = start_main(*options, TMPDIR=str(temporary))
    wait_until(children, process)
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 143
    assert error.splitlines()[-1].startswith("main.py: terminated; finished epochs are in ")
    assert "Traceback" not in error
    assert children() == []
    assert list(temporary.glob("sparbor-*")) == []  # PyTorch keeps a cache of its own there
    assert sorted(path.name for path in out.iterdir()) == ["checkpoint.pt", "metrics.partial.json"]
    resumed = start_main(*options, "--resume", PYTHONIOENCODING="ascii")
    printed, error = resumed.communicate(timeout=280)
    assert resumed.returncode == 0, error
    assert "latency, median (us)" in printed, "spelled so that the encoding has it"
    assert sorted(path.name for path in out.iterdir()) == RESULTS


def test_help_names_every_option() -> None:
    result = subprocess.run([*MAIN, "--help"], capture_output=True, text=True)
    assert result.returncode == 0
    for option in ("--dataset", "--epochs", "--sparsity", "--seed", "--data-dir", "--out", "--device", "--resume"):
        assert option in result.stdout
    assert all(option in result.stdout for option in ("--multiply-adds", "--kilobytes", "--latency-us"))
