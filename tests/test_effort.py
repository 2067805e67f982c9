"""What training costs: the meter, the RAPL counters and the count of multiply-adds, against figures made by hand."""

import time
from pathlib import Path

import pytest
import torch
from torch import nn

import sparbor
from bench.job import effort, rapl
from bench.job.effort import NOTHING, Effort, Meter
from bench.job.models import PatchTransformer
from bench.job.multiply_adds import of_training
from sparbor import Growth, PAINeuronModule, Recipe, Schedule

RANGE_UJ = 262_143_328_850


def write_domain(powercap: Path, folder: str, name: str, energy_uj: int, range_uj: int = RANGE_UJ) -> Path:
    """A domain as Linux shows it; the file of its counter."""
    (powercap / folder).mkdir()
    for file, value in (("name", name), ("energy_uj", energy_uj), ("max_energy_range_uj", range_uj)):
        (powercap / folder / file).write_text(f"{value}\n")
    return powercap / folder / "energy_uj"


@pytest.fixture
def counters(tmp_path: Path) -> list[Path]:
    """Two packages, and domains that are parts of the first, or tell the same as it."""
    write_domain(tmp_path, "intel-rapl:0:0", "core", 77)
    write_domain(tmp_path, "intel-rapl:1:0", "dram", 88)
    write_domain(tmp_path, "intel-rapl:2", "psys", 99)
    write_domain(tmp_path, "intel-rapl-mmio:0", "package-0", 1_000_000)
    (tmp_path / "intel-rapl").mkdir()  # the control type, which has no counter
    return [write_domain(tmp_path, f"intel-rapl:{index}", f"package-{index}", 1_000_000) for index in (0, 1)]


def test_the_energy_of_all_packages_and_of_nothing_twice(counters: list[Path], tmp_path: Path) -> None:
    packages = rapl.packages(tmp_path)
    assert [package.counter for package in packages] == counters
    before = rapl.counters_uj(packages)
    assert before == [1_000_000, 1_000_000]
    counters[0].write_text("3500000\n")
    counters[1].write_text("1250000\n")
    assert rapl.joules(packages, before, rapl.counters_uj(packages)) == 2.75


def test_a_counter_that_starts_anew(counters: list[Path], tmp_path: Path) -> None:
    packages = rapl.packages(tmp_path)
    counters[0].write_text(str(RANGE_UJ - 2_000_000))
    before = rapl.counters_uj(packages)
    counters[0].write_text("500000")
    assert rapl.joules(packages, before, rapl.counters_uj(packages)) == 2.5


def test_machines_that_do_not_tell(counters: list[Path], tmp_path: Path) -> None:
    assert rapl.packages(tmp_path / "absent") == ()
    assert rapl.counters_uj(()) is None
    packages = rapl.packages(tmp_path)
    before = rapl.counters_uj(packages)
    counters[1].unlink()
    counters[1].mkdir()  # unlike a file without permissions it cannot be read by root either
    assert rapl.counters_uj(packages) is None, "half of the machine's energy is not its energy"
    assert rapl.joules(packages, before, None) is None
    (tmp_path / "intel-rapl:0" / "max_energy_range_uj").write_text("nonsense")
    assert rapl.packages(tmp_path) == ()


def test_a_meter_measures_each_lap(counters: list[Path], tmp_path: Path) -> None:
    meter = Meter(rapl.packages(tmp_path))
    time.sleep(0.05)
    counters[0].write_text("2000000")
    asleep = meter.lap()
    assert asleep.energy_joules == 1.0
    assert asleep.seconds >= 0.05 > 2 * asleep.cpu_seconds
    until = time.process_time() + 0.05
    while time.process_time() < until:
        pass
    counters[0].write_text("5000000")
    busy = meter.lap()
    assert busy.energy_joules == 3.0
    assert busy.cpu_seconds >= 0.05
    both = asleep + busy
    assert both.energy_joules == 4.0
    assert both.cpu_seconds == asleep.cpu_seconds + busy.cpu_seconds


def test_a_lap_ends_before_a_counter_can_start_anew_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    meter = Meter(())
    assert not meter.is_due
    monkeypatch.setattr(effort, "LONGEST_LAP_SECONDS", 0)
    assert meter.is_due


def test_what_is_not_known_of_a_part_is_not_known_of_the_whole() -> None:
    known, unknown = Effort(1.0, 2.0, 3, 4.0), Effort(1.0, 2.0, None, None)
    assert NOTHING + known == known
    assert known + unknown == unknown + known == Effort(2.0, 4.0, None, None)


def test_the_multiply_adds_of_an_mlp() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3))
    assert of_training(model, torch.zeros(1, 2, 3)) == 2 * 24 + 3 * 12
    assert of_training(model, torch.zeros(5, 2, 3)) == 5 * (2 * 24 + 3 * 12)
    mask = torch.zeros(3, 4, dtype=torch.bool)
    mask[0, :2] = mask[2, 1] = True
    model[3] = PAINeuronModule(model[3])
    model[3].set_mask(mask)  # type: ignore[operator]
    assert of_training(model, torch.zeros(1, 2, 3)) == 2 * 24 + 3 * 3
    model[1].requires_grad_(False)
    assert of_training(model, torch.zeros(1, 2, 3)) == 24 + 2 * 3


def test_the_multiply_adds_of_a_cnn() -> None:
    """By positions of each layer: 6 x 6, 3 x 3 of the transposed one's input, 5 of a sequence, 1."""
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.MaxPool2d(2),
        nn.ConvTranspose2d(16, 8, 2, stride=2),
        nn.Conv2d(8, 8, 3, stride=2, groups=4),
        nn.Flatten(),
        nn.Linear(32, 10),
    )
    statistics = {name: buffer.clone() for name, buffer in model.named_buffers()}
    by_hand = 2 * 36 * (16 * 27) + 3 * 9 * (16 * 8 * 4) + 3 * 4 * (8 * 2 * 9) + 3 * 320
    assert of_training(model, torch.randn(1, 3, 6, 6)) == by_hand
    assert all(torch.equal(buffer, statistics[name]) for name, buffer in model.named_buffers())
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    sequence = nn.Sequential(nn.Linear(7, 4), nn.Tanh(), nn.Linear(4, 2))
    assert of_training(sequence, torch.zeros(2, 5, 7)) == 2 * 5 * (2 * 28 + 3 * 8)


def test_the_multiply_adds_of_grown_dendrites() -> None:
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 16))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    recipe = Recipe(sparsity=0.5, schedule=Schedule(warmup=0.1), growth=Growth(2, at=(0.2, 0.4)))
    perforator = sparbor.perforate(model, optimizer, recipe, total_steps=20)
    seen = set()
    for _ in range(20):
        weights = {name: module.active_weights() for name, module in perforator.modules.items()}
        read_images = sum(count for name, count in weights.items() if name == "0" or name in FIRST_LAYERS_INPUTS)
        assert of_training(model, torch.zeros(1, 64)) == 3 * sum(weights.values()) - read_images
        seen.add(tuple(weights))
        model(torch.randn(8, 64)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    assert len(seen) == 3, "no dendrites, one generation, two"


FIRST_LAYERS_INPUTS = {"0.dendrites.0.inputs", "0.dendrites.1.inputs"}


def test_attention_is_not_counted() -> None:
    assert of_training(PatchTransformer(), torch.zeros(1, 28, 28)) is None
