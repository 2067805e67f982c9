"""The scripts under benchmarks/ run, on little data, and continue where they stopped."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import BENCHMARKS


def run(script: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCHMARKS / script), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=280, env={**os.environ, **environment})


def test_accuracy_pairs_seeds_and_continues(small_mnist: Path, tmp_path: Path) -> None:
    file = tmp_path / "accuracy.json"
    options = ["--epochs", "1", "--data-dir", str(small_mnist), "--json", str(file)]
    first = run("accuracy.py", *options, "--sparsity", "0.5", "0.9", "--seeds", "1")
    assert first.returncode == 0, first.stderr
    rows = json.loads(file.read_text())["rows"]
    assert [(row["arm"], row["sparsity"], row["seed"]) for row in rows] == [
        ("dense", 0.0, 0),
        ("slots", 0.5, 0),
        ("slots", 0.9, 0),
    ]
    assert rows[2]["active_parameters"] < rows[1]["active_parameters"] < rows[0]["active_parameters"] == 269_322
    assert "slots 90%" in first.stdout
    assert rows[0]["engine_test_accuracy"] is None
    assert abs(rows[2]["engine_test_accuracy"] - rows[2]["test_accuracy"]) < 2  # of 300 images

    second = run("accuracy.py", *options, "--sparsity", "0.9", "--seeds", "2")
    assert second.returncode == 0, second.stderr
    continued = json.loads(file.read_text())["rows"]
    assert continued[:3] == rows
    assert [(row["arm"], row["sparsity"], row["seed"]) for row in continued[3:]] == [
        ("dense", 0.0, 1),
        ("slots", 0.9, 1),
    ]


def test_accuracy_compares_distributions_on_cifar10(small_cifar10: Path, tmp_path: Path) -> None:
    file = tmp_path / "accuracy.json"
    options = ["--dataset", "cifar10", "--data-dir", str(small_cifar10), "--epochs", "1", "--seeds", "1"]
    options += ["--distribution", "uniform", "erk", "--json", str(file)]
    result = run("accuracy.py", *options, XDG_CACHE_HOME=str(tmp_path), COLUMNS="200")
    assert result.returncode == 0, result.stderr
    assert "Data: PNG image folder, not the official CIFAR-10." in result.stdout
    assert "slots 90%, erk" in result.stdout
    dense, uniform, erk = json.loads(file.read_text())["rows"]
    assert [row["distribution"] for row in (dense, uniform, erk)] == [None, "uniform", "erk"]
    assert all(row["data"] == "PNG image folder, not the official CIFAR-10" for row in (dense, uniform, erk))
    assert abs(uniform["active_parameters"] - erk["active_parameters"]) < 4 * 16


def test_results_of_another_machine_are_not_mixed_in(small_mnist: Path, tmp_path: Path) -> None:
    file = tmp_path / "accuracy.json"
    file.write_text(json.dumps({"environment": {"cpu": "another"}, "command": "", "rows": []}))
    result = run("accuracy.py", "--data-dir", str(small_mnist), "--json", str(file))
    assert result.returncode == 1
    assert "was measured in another environment" in result.stderr
    assert json.loads(file.read_text())["environment"] == {"cpu": "another"}


def test_overhead_runs(small_mnist: Path, tmp_path: Path) -> None:
    file = tmp_path / "overhead.json"
    options = ["--epochs", "1", "--rounds", "1", "--data-dir", str(small_mnist), "--json", str(file)]
    result = run("overhead.py", *options)
    assert result.returncode == 0, result.stderr
    (row,) = json.loads(file.read_text())["rows"]
    assert all(
        row[f"{training}_{clock}_s"] > 0 for training in ("bare", "side_by_side") for clock in ("wall", "processor")
    )


def test_budgets_of_equal_latency_and_continues(small_mnist: Path, tmp_path: Path) -> None:
    file = tmp_path / "budgets.json"
    options = ["--dataset", "mnist", "--epochs", "1", "--data-dir", str(small_mnist), "--json", str(file)]
    result = run("budgets.py", *options, "--seeds", "1", COLUMNS="200")
    assert result.returncode == 0, result.stderr
    assert "measured µs" in result.stdout
    first = json.loads(file.read_text())
    assert [row["arm"] for row in first["rows"]] == ["dense", "erk", "multiply_adds", "latency_us"]
    dense, erk, _, latency = first["rows"]
    assert latency["predicted_latency_us"] == pytest.approx(erk["predicted_latency_us"], rel=0.01)
    assert erk["multiply_adds"] == erk["active_parameters"] - 522  # biases
    assert dense["stored_kilobytes"] == pytest.approx(dense["modelled_kilobytes"])
    assert all(row["stored_kilobytes"] <= row["modelled_kilobytes"] + 1e-9 for row in first["rows"])
    assert all(row["measured_latency_us"] > 0 for row in first["rows"])
    assert run("budgets.py", *options, "--seeds", "2").returncode == 0
    continued = json.loads(file.read_text())
    assert continued["costs"] == first["costs"]
    assert continued["rows"][:4] == first["rows"]
    assert [row["seed"] for row in continued["rows"]] == [0] * 4 + [1] * 4
