"""bench/latency.py: verified rows in the documented format, and nothing dropped in silence."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from bench import peers
from bench.inference import engine, latency
from bench.inference import models as latency_models
from bench.inference import report as latency_report
from bench.inference.latency import Contest, hold, max_relative_error, tolerance
from bench.inference.work import work_of
from bench.peers import deepsparse, openvino_int8, perforatedai, torch_eager
from sparbor import PAINeuronModule
from sparbor.packing.quads import pack_quads
from sparbor.recipe.pattern import Slots
from sparbor.topology.units import slot_counts
from tests.conftest import BENCH

# What rivals say of models that they do not take.
MULTIPLY_MATRICES_ONLY = "it multiplies sparse matrices and has no convolutions"
NO_SPARSE_KERNELS = "it has kernels for none of these layers without their zeros on this processor"
REFUSED = {(file, "tiny-cnn"): MULTIPLY_MATRICES_ONLY for file in ("torch_csr", "scipy_csr", "sparselab")}
REFUSED |= {(file, "tiny-encoder"): MULTIPLY_MATRICES_ONLY for file in ("torch_csr", "scipy_csr", "sparselab")}
REFUSED |= {("openvino_int8_sparse", model): NO_SPARSE_KERNELS for model in ("tiny", "tiny-cnn", "tiny-encoder")}

COLUMNS = {
    "model": str,
    "batch": int,
    "threads": int,
    "sparsity": float,
    "runtime": str,
    "kind": str,
    "precision": str,
    "isa": (str, type(None)),
    "median_us": float,
    "p95_us": float,
    "max_relative_error": float,
    "stored_bytes": int,
}


def run(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCH / "latency.py"), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=280)


def contest(**changes: Any) -> Contest:
    settings = {
        "model": "tiny",
        "batch": 2,
        "threads": 1,
        "sparsity": 0.75,
        "runtimes": ("torch-eager",),
        "isas": (),
        "precisions": ("f16", "f32"),
        "masks": ("varying",),
        "rounds": 2,
    }
    return Contest(**{**settings, **changes})


def test_rows_are_in_the_documented_format_and_a_second_run_continues(tmp_path: Path) -> None:
    file = tmp_path / "latency.json"
    options = ["--models", "tiny", "--rounds", "2", "--isa"]
    options += [*engine.kernel_sets()[-1:], "--runtimes", "sparbor", "sparbor-dense", "torch-eager", "scipy-csr"]
    options += ["--memory", "--json", str(file)]
    first = run(*options)
    assert first.returncode == 0, first.stderr
    contents = json.loads(file.read_text())
    assert list(contents)[:2] == ["environment", "command"]
    assert contents["environment"]["peers"]["torch"]
    rows = contents["rows"]
    for row in rows:
        assert list(row)[: len(COLUMNS)] == list(COLUMNS)
        assert all(isinstance(row[name], kind) for name, kind in COLUMNS.items()), row
        assert 0 < row["median_us"] <= row["p95_us"]
        assert row["kind"] in ("dense", "sparse")
    ours = [row for row in rows if row["runtime"] == "sparbor"]
    assert [(row["precision"], row["masks"]) for row in ours] == [
        (precision, masks) for masks in ("varying", "quads", "equal") for precision in ("f16", "f32", "int8")
    ]
    own_dense = [row for row in rows if row["runtime"] == "sparbor-dense"]
    assert [(row["precision"], row["masks"], row["kind"]) for row in own_dense] == [
        (precision, "none", "dense") for precision in ("f16", "f32", "int8")
    ]
    missing = {row["runtime"] for row in contents.get("not_measured", [])}
    assert {row["runtime"] for row in rows} | missing == {"sparbor", "sparbor-dense", "torch-eager", "scipy-csr"}
    assert {row["runtime"] for row in contents.get("memory", [])} in ({"sparbor", "torch-eager"}, set())
    assert "Times faster" in first.stdout

    second = run(*options, "--sparsity", "0.9", "0.5")
    assert second.returncode == 0, second.stderr
    after = json.loads(file.read_text())["rows"]
    assert after[: len(rows)] == rows
    assert {row["sparsity"] for row in after[len(rows) :]} == {0.5}


def test_a_rival_that_computes_something_else_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgets_a_relu(model: nn.Module, example: torch.Tensor, threads: int) -> peers.Local:
        linear = nn.Sequential(*(layer for layer in model.children() if not isinstance(layer, nn.ReLU)))
        return torch_eager.prepare(linear, example, threads)

    wrong = peer("wrong", forgets_a_relu)
    monkeypatch.setattr(peers, "find", lambda: [torch_eager, wrong])
    outcome = hold(contest(runtimes=("torch-eager", "wrong")))
    assert [row["runtime"] for row in outcome.rows] == ["torch-eager"]
    (refused,) = outcome.not_measured
    assert refused["runtime"] == "wrong"
    assert refused["reason"].startswith("its output is wrong: relative error ")
    assert "median_us" not in refused


def test_rivals_that_are_missing_or_fail_are_listed_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(model: nn.Module, example: torch.Tensor, threads: int) -> peers.Local:
        raise ValueError("no kernel for this\nand a long trace")

    absent = peer("absent", fails, available=lambda: "absent is not installed (make peers)")
    monkeypatch.setattr(peers, "find", lambda: [absent, peer("failing", fails)])
    outcome = hold(contest(runtimes=("absent", "failing", "sparbor"), isas=(engine.kernel_sets()[0],)))
    assert {row["runtime"] for row in outcome.rows} == {"sparbor"}
    assert {row["runtime"]: row["reason"] for row in outcome.not_measured} == {
        "absent": "absent is not installed (make peers)",
        "failing": "no kernel for this",
    }


def test_a_kernel_set_that_is_not_here_is_listed() -> None:
    outcome = hold(contest(runtimes=("sparbor",), isas=("avx9000",), precisions=("f16",)))
    assert outcome.rows == []
    assert "SPARBOR_ISA=avx9000" in outcome.not_measured[0]["reason"]


@pytest.mark.parametrize("model", ["tiny", "tiny-cnn", "tiny-encoder"])
@pytest.mark.parametrize("file", peers.FILES)
def test_each_rival_that_is_installed_agrees_with_pytorch(file: str, model: str) -> None:
    (rival,) = peers.find((file,))
    if rival.available():
        pytest.skip(rival.available())
    for batch in (1, 3):
        outcome = hold(contest(model=model, batch=batch, runtimes=(rival.NAME,)))
        if (file, model) in REFUSED:
            (refused,) = outcome.not_measured
            assert refused["reason"] == REFUSED[file, model]
            continue
        assert outcome.not_measured == []
        (row,) = outcome.rows
        assert row["kind"] == rival.KIND
        assert row["stored_bytes"] > 0


def test_openvino_in_8_bits_stores_bytes_and_leaves_out_zeros_where_it_has_kernels_for_that() -> None:
    if openvino_int8.available():
        pytest.skip(openvino_int8.available())
    outcome = hold(contest(model="vit-b-mlp", sparsity=0.9, runtimes=("openvino-int8", "openvino-int8-sparse")))
    rows = {row["runtime"]: row for row in outcome.rows}
    weights = 3072 * 768
    assert weights < rows["openvino-int8"]["stored_bytes"] < 1.01 * weights
    assert rows["openvino-int8"]["max_relative_error"] > 1e-4, "nothing was rounded"
    if "openvino-int8-sparse" in rows:
        assert rows["openvino-int8-sparse"]["max_relative_error"] < tolerance("int8", 1)
    else:
        assert [row["reason"] for row in outcome.not_measured] == [NO_SPARSE_KERNELS]


def test_the_engine_runs_a_convolutional_network_sparse_and_dense() -> None:
    isa = engine.kernel_sets()[0]
    settings = {"masks": ("varying", "equal"), "runtimes": ("sparbor", "sparbor-dense"), "isas": (isa,)}
    outcome = hold(contest(model="tiny-cnn", sparsity=0.9, precisions=("f32",), **settings))
    assert outcome.not_measured == []
    assert [(row["runtime"], row["masks"], row["kind"]) for row in outcome.rows] == [
        ("sparbor", "varying", "sparse"),
        ("sparbor", "equal", "sparse"),
        ("sparbor-dense", "none", "dense"),
    ]
    varying, _, own_dense = outcome.rows
    assert own_dense["active_multiply_adds"] == own_dense["multiply_adds"] == varying["multiply_adds"]
    assert varying["active_multiply_adds"] < 0.2 * varying["multiply_adds"]
    assert varying["stored_bytes"] < own_dense["stored_bytes"]


@pytest.mark.parametrize("model", ["tiny", "tiny-encoder"])
def test_the_engine_runs_quads_in_8_bits(model: str) -> None:
    settings = {"masks": ("quads",), "runtimes": ("sparbor", "torch-eager"), "isas": engine.kernel_sets()[:1]}
    outcome = hold(contest(model=model, sparsity=0.8, precisions=("f32", "int8"), **settings))
    assert outcome.not_measured == []
    exact, rounded, _ = outcome.rows
    assert (rounded["precision"], rounded["masks"], rounded["kind"]) == ("int8", "quads", "sparse")
    assert rounded["max_relative_error"] > 100 * exact["max_relative_error"], "nothing was rounded"
    assert rounded["packed_bytes"] < 0.6 * exact["packed_bytes"]


def test_a_transformer_in_8_bits_is_told_from_other_networks() -> None:
    assert peers.has_attention(latency_models.dense("tiny-encoder"))
    assert peers.has_attention(nn.Sequential(nn.MultiheadAttention(8, 2)))
    assert not peers.has_attention(latency_models.dense("tiny-cnn"))


def test_rivals_with_an_environment_of_their_own_say_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(peers.worker, "CHECKOUT", tmp_path)
    for rival in (deepsparse, perforatedai):
        assert rival.available() == f"{rival.ENVIRONMENT} is not set up (make peers)"


def test_errors_are_relative_and_the_worst_item_counts() -> None:
    expected = np.array([[3, 4], [300, 400]], dtype=np.float32)
    assert max_relative_error(expected, expected) == 0
    assert max_relative_error(expected + np.float32([[0, 0.5], [0, 0.5]]), expected) == pytest.approx(0.1)
    assert max_relative_error(expected[:1], expected) == float("inf")
    assert max_relative_error(np.full_like(expected, np.nan), expected) == float("inf")
    assert tolerance("f32", 4) == pytest.approx(2e-5)
    assert tolerance("f16", 4) == 2**-4


def test_masks_vary_as_training_makes_them_or_are_equal() -> None:
    varying = latency_models.dendritic("seed-mlp", 0.9, "varying")
    work = work_of(latency_models.plain(varying), latency_models.example("seed-mlp", 1))
    assert work.active_weights == work.active_multiply_adds == pytest.approx(0.1 * 268_800, rel=0.002)
    assert (work.layers, work.multiply_adds) == (3, 268_800)
    counts = slot_counts(varying[0].mask, Slots()).float()
    assert 1.8 < counts.std() < 2.7
    equal = latency_models.dendritic("seed-mlp", 0.9, "equal")
    for layer in (equal[0], equal[2], equal[4]):
        assert (slot_counts(layer.mask, Slots()) == 3).all()
        assert layer.mask.sum() == 3 * len(layer.mask) * -(-layer.mask.shape[1] // 32)


@pytest.mark.parametrize("model", ["seed-mlp", "resnet18-cifar"])
def test_masks_of_quads_fill_quads_as_inputs_are_read(model: str) -> None:
    network = latency_models.dendritic(model, 0.9, "quads")
    layers = [layer for layer in network.modules() if isinstance(layer, PAINeuronModule)]
    active = sum(layer.active_weights() for layer in layers)
    assert active == pytest.approx(0.1 * sum(layer.mask.numel() for layer in layers), rel=0.002)
    for layer in layers:
        mask = layer.to_matrix(layer.mask)
        if len(mask) % 16 == 0 and layer.input_row % 64 == 0:
            assert not pack_quads(mask.float().numpy(), mask.numpy()).padding.any()


# Parameters of torchvision's models of these names, and multiply-adds as they are commonly given.
KNOWN = {
    "seed-cnn": (2_122_186, 32 * 32 * 27 * 32 + 16 * 16 * 288 * 64 + 4096 * 512 + 5120),
    "resnet18-imagenet": (11_689_512, 1_814_073_344),
    "mobilenetv2": (3_504_872, 300_774_272),
    "efficientnet-b0": (5_288_548, 385_814_752),
}


@pytest.mark.parametrize("model", KNOWN)
def test_the_networks_are_the_known_ones(model: str) -> None:
    network = latency_models.dense(model).eval()
    parameters, multiply_adds = KNOWN[model]
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
    assert work_of(network, latency_models.example(model, 1)).multiply_adds == multiply_adds


def test_convolutions_are_sparse_where_the_pattern_takes_them_and_carry_the_signal() -> None:
    network = latency_models.dendritic("mobilenetv2", 0.9, "varying")
    depthwise = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d) and layer.groups > 1]
    wrapped = [layer for layer in network.modules() if isinstance(layer, PAINeuronModule)]
    assert (len(depthwise), len(wrapped)) == (17, 36)
    assert all(layer.get_sparsity() == pytest.approx(0.9, abs=0.03) for layer in wrapped)
    assert all(layer.groups == 1 for layer in wrapped)
    plain = latency_models.plain(network)
    kept = {}
    for name, norm in plain.named_modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.register_forward_hook(lambda _, __, output, name=name: kept.update({name: output}))
            assert not torch.equal(norm.weight, torch.ones_like(norm.weight))
            assert norm.running_var.median() > 0  # whole groups of neurons may be dead
    with torch.inference_mode():
        scores = plain(latency_models.example("mobilenetv2", 2))
    assert len(kept) == 52
    assert all(0.5 < output.std() < 2 for output in kept.values())
    assert scores.std() > 0.1


def test_erk_divides_the_sparsity_of_the_seed_cnn() -> None:
    network = latency_models.dendritic("seed-cnn-erk", 0.9, "varying")
    layers = [layer for layer in network.modules() if isinstance(layer, PAINeuronModule)]
    densities = [1 - layer.get_sparsity() for layer in layers]
    assert densities == pytest.approx([1, 0.242, 0.096, 1], abs=0.002)
    active = sum(layer.active_weights() for layer in layers)
    assert active == pytest.approx(0.1 * sum(layer.mask.numel() for layer in layers), rel=0.001)


def peer(name: str, prepare: Any, available: Any = lambda: None) -> SimpleNamespace:
    return SimpleNamespace(NAME=name, KIND="dense", PRECISION="f32", prepare=prepare, available=available)


def test_the_command_line_knows_every_rival() -> None:
    assert {rival.NAME for rival in peers.find()} == {
        "torch-eager",
        "torch-compile",
        "onnxruntime",
        "onnxruntime-int8",
        "openvino",
        "openvino-int8",
        "openvino-int8-sparse",
        "torch-csr",
        "scipy-csr",
        "sparselab",
        "deepsparse",
        "perforatedai",
    }
    assert latency.engine.NAME == "sparbor"


def test_the_summary_names_the_best_rival_of_each_sort() -> None:
    key = {"model": "tiny", "batch": 1, "threads": 1, "sparsity": 0.9}
    work = {"masks": "varying", "multiply_adds": 100, "active_multiply_adds": 10}
    figures = [
        ("sparbor", "sparse", "f16", 10.0),
        ("sparbor", "sparse", "int8", 5.0),
        ("onnxruntime", "dense", "f32", 90.0),
        ("onnxruntime-int8", "dense", "int8", 40.0),
        ("openvino-int8", "dense", "int8", 30.0),
        ("openvino-int8-sparse", "sparse", "int8", 20.0),
        ("torch-csr", "sparse", "f32", 70.0),
    ]
    rows = [
        {**key, **work, "runtime": runtime, "kind": kind, "precision": precision, "isa": None, "median_us": median}
        for runtime, kind, precision, median in figures
    ]
    table = latency_report.ratios({tuple(key.values()): rows})
    said = {str(column.header): [*column.cells] for column in table.columns}
    assert said["weights"] == ["f16 varying", "int8 varying"]
    assert said["best f32 dense"] == ["9.0 × (onnxruntime 90)", "18.0 × (onnxruntime 90)"]
    assert said["best dense"] == ["3.0 × (openvino-int8 30)", "6.0 × (openvino-int8 30)"]
    assert said["best int8 dense"] == ["3.0 × (openvino-int8 30)", "6.0 × (openvino-int8 30)"]
    assert said["best int8"] == ["2.0 × (openvino-int8-sparse 20)", "4.0 × (openvino-int8-sparse 20)"]
    assert said["best sparse"] == ["2.0 × (openvino-int8-sparse 20)", "4.0 × (openvino-int8-sparse 20)"]
    assert said["best sparse f32"] == ["7.0 × (torch-csr 70)", "14.0 × (torch-csr 70)"]
