"""bench/crossover.py: the figures of a layer, and where one line crosses the other."""

import json
import sys
from pathlib import Path

import pytest

from bench.inference import crossover


def test_the_crossing_lies_between_what_was_measured() -> None:
    assert crossover.overtaken([(0.1, 10.0), (0.5, 30.0), (1.0, 50.0)], 40.0) == pytest.approx(0.75)
    assert crossover.overtaken([(0.1, 10.0), (0.5, 30.0), (1.0, 50.0)], 5.0) == pytest.approx(0.05)
    assert crossover.overtaken([(0.1, 10.0), (1.0, 50.0)], 50.0) is None


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        ("linear", {"layer": "linear", "width": 32, "batch": 2}),
        ("convolution", {"layer": "convolution", "channels": 3, "outputs": 20, "plane": 5, "kernel": 3}),
    ],
)
def test_each_layer_gives_a_row(
    layer: str, name: dict[str, object], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "crossover.json"
    isa = crossover.engine.kernel_sets()[-1]
    monkeypatch.setattr(crossover, "CONVOLUTIONS", ((3, 20, 5, 3),))
    monkeypatch.setattr(crossover, "ROUND_US", 10)
    options = ["--layer", layer, "--width", "32", "--batch", "2", "--isa", isa, "--json", str(file)]
    monkeypatch.setattr(sys, "argv", ["crossover.py", *options])
    crossover.main()
    (row,) = json.loads(file.read_text())["rows"]
    assert {"isa": isa, "weights": "word16", **name}.items() <= row.items()
    assert row["dense_us"] > 0
    assert row["slot_ns_at_10_percent"] > 0
    assert row["dense_wins_from_share"] is None or 0 < row["dense_wins_from_share"] <= 32 / 20  # filled groups
