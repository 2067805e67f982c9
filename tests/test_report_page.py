"""``report.html``: what stands on it, that nothing outside is needed, and how a browser lays it out."""

import copy
import html
import itertools
import json
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import sparbor
from bench.job.command import main as benchmark_main
from sparbor.cli.program import main
from sparbor.errors import StateError
from sparbor.packing.slots import pack
from sparbor.program.program import Operation, Program
from sparbor.report import metrics_file
from sparbor.report import page as report_page
from sparbor.report.charts import ticks
from sparbor.report.figures import percent
from sparbor.report.synapse_maps import synapse_maps

VOID = {"meta", "br", "hr", "img", "input", "link", "source"}
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
STYLE = Path(report_page.__file__).with_name("style.css").read_text()
LOUD = "</title></style><script>alert('1')</script><img src=x onerror=\"alert(2)\">&amp;<b>"


@dataclass
class Node:
    """An element of the page as a browser would read it."""

    tag: str
    attributes: dict[str, str | None]
    children: list["Node | str"] = field(default_factory=list)

    def text(self) -> str:
        return "".join(child if isinstance(child, str) else child.text() for child in self.children)

    def all(self, tag: str | None = None, **attributes: str) -> list["Node"]:
        found = []
        for child in self.children:
            if isinstance(child, Node):
                has = all(
                    child.attributes.get(name.rstrip("_").replace("_", "-")) == value
                    for name, value in attributes.items()
                )
                found += [child] if has and tag in (None, child.tag) else []
                found += child.all(tag, **attributes)
        return found

    def one(self, tag: str | None = None, **attributes: str) -> "Node":
        (node,) = self.all(tag, **attributes)
        return node


class Reader(HTMLParser):
    """A tree of a page, every element of which has to be closed in its turn."""

    def __init__(self) -> None:
        super().__init__()
        self.open = [Node("", {})]

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        assert len(dict(attributes)) == len(attributes), tag
        node = Node(tag, dict(attributes))
        self.open[-1].children.append(node)
        if tag not in VOID:
            self.open.append(node)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def parse(page: bytes) -> Node:
    reader = Reader()
    reader.feed(page.decode())
    reader.close()
    (root,) = reader.open
    return root.one("html")


@dataclass
class Run:
    """A real run of the benchmark and its page."""

    out: Path
    metrics: dict[str, Any]
    page: bytes
    root: Node

    def table(self, caption: str) -> dict[str, dict[str, str]]:
        """Cells by the row's name and the column's heading."""
        (table,) = (each for each in self.root.all("table") if each.one("caption").text() == caption)
        headings = [each.text() for each in table.one("thead").all("th")][1:]
        rows = table.one("tbody").all("tr")
        return {
            row.one("th").text(): dict(zip(headings, [cell.text() for cell in row.all("td")], strict=True))
            for row in rows
        }

    def chart(self, key: str) -> Node:
        return self.root.one("svg", aria_labelledby=f"{key}-title")


def run(out: Path, *options: str) -> Run:
    assert benchmark_main([*options, "--out", str(out)]) == 0
    page = (out / "report.html").read_bytes()
    return Run(out, json.loads((out / "metrics.json").read_text()), page, parse(page))


@pytest.fixture(scope="module")
def mnist(small_mnist: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("mnist")
    return run(out, "--epochs", "4", "--dendrites", "1", "--sparsity", "0.5", "--data-dir", str(small_mnist))


@pytest.fixture(scope="module")
def cifar10(small_cifar10: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("cifar10")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(out / "cache"))
        return run(out, "--dataset", "cifar10", "--epochs", "1", "--kilobytes", "600", "--data-dir", str(small_cifar10))


@pytest.fixture(params=["mnist", "cifar10"])
def each_run(request: pytest.FixtureRequest) -> Run:
    either: Run = request.getfixturevalue(request.param)
    return either


def test_it_needs_nothing_but_itself(each_run: Run) -> None:
    assert len(each_run.page) < 500_000
    assert each_run.page.startswith(b"<!DOCTYPE html>\n")
    assert not {node.tag for node in each_run.root.all()} & {
        "script",
        "link",
        "img",
        "iframe",
        "object",
        "image",
        "use",
    }
    for node in each_run.root.all():
        assert not set(node.attributes) & {"src", "href", "xlink:href", "srcset", "style", "background", "data"}
        assert not any(name.startswith("on") for name in node.attributes)
    assert each_run.root.one("style").text() == STYLE
    assert not re.search(r"url\(|@import|@font-face|//", STYLE)


def test_it_can_be_read_by_those_who_do_not_see_it(each_run: Run) -> None:
    root = each_run.root
    assert root.attributes["lang"] == "en"
    assert each_run.metrics["dataset"] in root.one("head").one("title").text()
    assert root.one("meta", name="viewport").attributes["content"] == "width=device-width, initial-scale=1"
    levels = [int(node.tag[1]) for node in root.all() if re.fullmatch("h[1-6]", node.tag)]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    ids = [node.attributes["id"] for node in root.all() if "id" in node.attributes]
    assert len(ids) == len(set(ids))
    for node in root.all():
        for name in ("aria-labelledby", "aria-describedby"):
            assert node.attributes.get(name, ids[0]) in ids
        if node.attributes.get("role") == "region":
            assert node.attributes["aria-label"]
    for table in root.all("table"):
        assert table.one("caption").text()
        assert all(cell.attributes["scope"] in ("row", "col") for cell in table.all("th"))


def test_every_chart_has_a_name_and_says_what_it_shows(each_run: Run) -> None:
    charts = [svg for svg in each_run.root.all("svg") if svg.attributes.get("aria-hidden") != "true"]
    assert len(charts) >= 6 + len(each_run.metrics["dendritic"]["layers"])
    for svg in charts:
        assert svg.attributes["role"] == "img"
        title, description = svg.one("title"), svg.one("desc")
        assert (title.attributes["id"], description.attributes["id"]) == (
            svg.attributes["aria-labelledby"],
            svg.attributes["aria-describedby"],
        )
        assert title.text()
        assert re.search(r"\d|not measured", description.text())
    assert len({svg.one("title").text() for svg in charts}) == len(charts)


def test_its_figures_are_those_of_the_metrics(each_run: Run) -> None:
    metrics = each_run.metrics
    arms = {"dense baseline": metrics["baseline"], "dendritic": metrics["dendritic"]}
    accuracies = each_run.table("Accuracy of the final weights")
    parameters = each_run.table("Parameters, biases included")
    training = each_run.table("Training both models")
    epochs = each_run.table("Both models after each epoch")
    runtimes = each_run.table("Runtimes")
    for name, arm in arms.items():
        assert accuracies[name]["test accuracy (%)"] == f"{arm['test_accuracy_percent']:.2f}"
        assert accuracies[name]["validation accuracy (%)"] == f"{arm['validation_accuracy_percent']:.2f}"
        assert parameters[name]["active parameters"] == f"{arm['active_parameters']:,}"
        assert parameters[name]["of"] == f"{arm['total_parameters']:,}"
        assert training["time (s)"][name] == f"{arm['training_seconds']:,.1f}"
        assert training["active multiply-adds (10⁹)"][name] == f"{arm['training_multiply_adds'] / 1e9:,.1f}"
        assert len(epochs) == len(arm["epochs"])
        for epoch in arm["epochs"]:
            row = epochs[str(epoch["epoch"] + 1)]
            assert row[f"training loss, {name}"] == f"{epoch['training_loss']:.4f}"
            assert row[f"density, {name}"] == f"{epoch['density']:.2%}"
        for label, runtime in (("PyTorch", "torch"), ("Sparbor engine", "sparbor")):
            row, figures = runtimes[f"{label}, {name}"], arm["runtimes"][runtime]
            assert row["latency, median (µs)"] == f"{figures['latency_us_median']:,.2f}"
            assert row["stored (KB)"] == f"{figures['stored_bytes'] / 1000:,.0f}"
            assert row["of it code, read once (MB)"] == f"{figures['memory_code_bytes'] / 1e6:.2f}"
    layers = each_run.table("Dendritic layers")
    assert list(layers) == [layer["name"] for layer in metrics["dendritic"]["layers"]]
    for layer in metrics["dendritic"]["layers"]:
        assert layers[layer["name"]]["active"] == f"{layer['active_weights']:,}"
        assert layers[layer["name"]]["density"] == percent(1 - layer["sparsity"])
    title = each_run.root.one("h1").text()
    assert title.startswith(f"{metrics['dataset']} (not the official bytes: small-{metrics['dataset']}")
    assert title in each_run.root.one("head").one("title").text()
    text = each_run.root.text()
    assert percent(metrics["remaining_error_reduction"]) in text
    assert metrics["data"]["source"] in text
    assert all(str(value) in text for value in metrics["environment"].values() if value is not None)
    assert all(reason in text for reason in metrics["not_measured"].values())
    assert json.loads(each_run.root.one("pre", aria_label="the recipe as JSON").text()) == metrics["recipe"]


def test_each_layers_density_by_epoch(mnist: Run) -> None:
    epochs = mnist.metrics["dendritic"]["epochs"]
    assert "fc1.dendrites.0.inputs" in epochs[0]["layer_densities"], "it grows at the switch, a tenth of the run"
    assert 0.5 < epochs[0]["layer_densities"]["fc1"] < 1
    for at, layer in enumerate(mnist.metrics["dendritic"]["layers"]):
        last = epochs[-1]["layer_densities"][layer["name"]]
        assert last == pytest.approx(1 - layer["sparsity"])
        assert f"{percent(last)} after epoch 4" in mnist.chart(f"layer-{at}").one("desc").text()
    assert mnist.metrics["baseline"]["epochs"][-1]["layer_densities"] == {}
    assert list(mnist.table("Growth of dendrites")) == [str(mnist.metrics["dendritic"]["growth"][0]["step"])]


def test_lines_and_bars_are_as_high_as_their_values(mnist: Run) -> None:
    chart = mnist.chart("accuracy-chart")
    heights = {
        "baseline": [float(str(m.attributes["y"])) + 4 for m in chart.all("rect", class_="mark baseline")],
        "dendritic": [float(str(m.attributes["cy"])) for m in chart.all("circle", class_="mark dendritic")],
    }
    values = {arm: [e["validation_accuracy_percent"] for e in mnist.metrics[arm]["epochs"]] for arm in heights}
    both = [np.array(heights["baseline"] + heights["dendritic"]), np.array(values["baseline"] + values["dendritic"])]
    slope, start = np.polyfit(both[1], both[0], 1)
    assert slope < 0, "a higher accuracy stands higher"
    np.testing.assert_allclose(slope * both[1] + start, both[0], atol=0.11)
    for key, name in (("latency", "latency_us_median"), ("stored", "stored_bytes")):
        bars = mnist.chart(f"{key}-chart").all("rect")
        lengths = [float(str(bar.attributes["width"])) for bar in bars]
        runtimes = mnist.metrics["baseline"]["runtimes"]
        figures = [mnist.metrics[arm]["runtimes"][runtime][name] for runtime in runtimes for arm in heights]
        np.testing.assert_allclose(lengths, np.array(figures) * (max(lengths) / max(figures)), atol=0.06)


def cells(chart: Node) -> np.ndarray[Any, Any]:
    """The level that each cell of a heat map is painted in."""
    _, _, columns, rows = map(int, str(chart.attributes["viewbox"]).split())
    painted = np.zeros((rows, columns), int)
    for path in chart.all("path"):
        level = int(str(path.attributes["class"]).removeprefix("cell level"))
        for x, y, length in re.findall(r"M(\d+) (\d+)h(\d+)v1h-\d+z", str(path.attributes["d"])):
            run = painted[int(y), int(x) : int(x) + int(length)]
            assert len(run) == int(length)
            assert not run.any()
            run[:] = level
    return painted


def counts(run: Run, title: str) -> np.ndarray[Any, Any]:
    listing = run.root.one("pre", aria_label=f"{title}: counts, row by row")
    return np.array([line.split() for line in listing.text().splitlines()], int)


@pytest.mark.parametrize("name", ["fc1", "fc1.dendrites.0.inputs"])
def test_the_map_of_the_image_shows_which_pixels_are_read(name: str, mnist: Run) -> None:
    names = [layer["name"] for layer in mnist.metrics["deployed"]["layers"]]
    _, mask = sparbor.load(mnist.out / "model.safetensors").program.layers[name].unpack()
    expected = mask.sum(axis=0).reshape(28, 28)
    assert (counts(mnist, f"{name}: synapses per pixel") == expected).all()
    painted = cells(mnist.chart(f"map-{names.index(name)}-pixels-0"))
    assert ((painted > 0) == (expected > 0)).all()
    order = np.argsort(expected.ravel())
    assert (np.diff(painted.ravel()[order]) >= 0).all(), "more synapses are never painted in a lower level"
    assert painted.max() == 6
    assert f"reads {(expected > 0).sum()} of 784 pixels" in mnist.root.text()


def test_maps_of_tiles_count_every_synapse(each_run: Run) -> None:
    for layer in each_run.metrics["deployed"]["layers"]:
        titles = [each.text() for each in each_run.root.all("figcaption")]
        found = [each for each in titles if each.startswith(f"{layer['name']}: synapses in tiles")]
        if layer["active"] == layer["outputs"] * layer["fan_in"]:
            assert not found
            assert f"All {layer['active']:,} weights are active." in each_run.root.text()
            continue
        (title,) = found
        assert counts(each_run, title).sum() == layer["active"]
    pixels = [each.text() for each in each_run.root.all("figcaption") if "per pixel" in each.text()]
    if each_run.metrics["dataset"] == "cifar10":
        assert pixels == [], "its first layer is a convolution, which reads all pixels"


@given(st.integers(1, 70), st.integers(1, 200), st.integers(0, 2**32 - 1))
def test_tiles_inputs_and_neurons_of_any_layer(outputs: int, fan_in: int, seed: int) -> None:
    mask = np.random.default_rng(seed).random((outputs, fan_in)) < 0.2
    (found,) = synapse_maps(program_of(mask))
    for group in range(found.tiles.shape[0]):
        for branch in range(found.tiles.shape[1]):
            assert found.tiles[group, branch] == mask[16 * group :, 32 * branch :][:16, :32].sum()
    assert (found.synapses_of_inputs == mask.sum(axis=0)).all()
    assert (found.synapses_of_neurons == mask.sum(axis=1)).all()


def program_of(mask: np.ndarray[Any, Any]) -> Program:
    layer = pack(np.ones(mask.shape, np.float32), mask)
    outputs, fan_in = mask.shape
    return Program.of_items(((fan_in,), (outputs,)), 0, 1, (Operation("linear", (0,), 1, "layer"),), {"layer": layer})


@pytest.mark.parametrize(("shape", "tile"), [((2100, 40), (48, 32)), ((20, 5000), (16, 64))])
def test_large_layers_have_larger_tiles(shape: tuple[int, int], tile: tuple[int, int]) -> None:
    mask = np.random.default_rng(0).random(shape) < 0.1
    (found,) = synapse_maps(program_of(mask))
    assert (found.neurons, found.inputs) == tile
    assert found.tiles.shape == (-(-shape[0] // tile[0]), -(-shape[1] // tile[1]))
    assert found.tiles[0, -1] == mask[: tile[0], (found.tiles.shape[1] - 1) * tile[1] :].sum()
    assert found.tiles.sum() == mask.sum()


@given(st.floats(-1e6, 1e6), st.floats(0, 1e6), st.integers(2, 12))
def test_ticks_reach_around_the_values(low: float, reach: float, most: int) -> None:
    marks = ticks(low, low + reach, most)
    assert 2 <= len(marks) <= most + 1
    assert marks[0] <= low + 1e-6 * (1 + reach)
    assert marks[-1] >= low + reach - 1e-6 * (1 + reach)
    assert marks == sorted(set(marks))


def loud(value: Any) -> Any:
    """The same metrics, markup in all of their texts."""
    if isinstance(value, dict):
        return {name: loud(each) for name, each in value.items()}
    if isinstance(value, list):
        return [loud(each) for each in value]
    return value + LOUD if isinstance(value, str) else value


def test_texts_of_the_metrics_cannot_become_markup(mnist: Run) -> None:
    hostile = loud(mnist.metrics)
    for epoch in hostile["dendritic"]["epochs"]:
        epoch["layer_densities"] = {name + LOUD: value for name, value in epoch["layer_densities"].items()}
    hostile["dendritic"]["growth"][0]["what"] = "grown"  # by which it is drawn
    hostile["not_measured"] = {LOUD: LOUD}
    hostile["environment"][LOUD] = LOUD
    clean = copy.deepcopy(mnist.metrics)
    clean["not_measured"] = {"x": "y"}
    clean["environment"]["x"] = "y"
    read, expected = (parse(report_page.page(each, None)) for each in (hostile, clean))
    assert [node.tag for node in read.all()] == [node.tag for node in expected.all()]
    for text in (hostile["data"]["source"], hostile["environment"]["cpu"], LOUD):
        assert text in read.text()
    assert (
        read.one("title", id="layer-0-title").text()
        == f"Density of {hostile['dendritic']['layers'][0]['name']} by epoch"
    )


def test_half_a_surrogate_pair_is_shown_as_a_question_mark(mnist: Run) -> None:
    metrics = copy.deepcopy(mnist.metrics)
    metrics["data"]["source"] = "mnist \ud83d"
    assert "mnist ?" in parse(report_page.page(metrics, None)).text()


def test_the_command_makes_the_page_that_the_run_left(
    each_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "page.html"
    assert main(["report", str(each_run.out / "metrics.json"), "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"Report: {out}\n"
    assert out.read_bytes() == each_run.page
    for name in ("metrics.json", "model.safetensors"):
        shutil.copy(each_run.out / name, tmp_path)
    assert main(["report", str(tmp_path / "metrics.json")]) == 0
    assert (tmp_path / "report.html").read_bytes() == each_run.page


def test_it_needs_neither_torch_nor_matplotlib_nor_rich_nor_the_engine(mnist: Run, tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "for name in ('torch', 'matplotlib', 'rich', 'sparbor._native'): sys.modules[name] = None\n"
        "from sparbor.cli.program import main\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    command = ["report", str(mnist.out / "metrics.json"), "--out", str(tmp_path / "page.html")]
    done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "page.html").read_bytes() == mnist.page


def test_without_the_model_the_page_says_so(mnist: Run, tmp_path: Path) -> None:
    shutil.copy(mnist.out / "metrics.json", tmp_path)
    assert main(["report", str(tmp_path / "metrics.json")]) == 0
    root = parse((tmp_path / "report.html").read_bytes())
    assert "There are none here: model.safetensors was not beside the metrics" in root.text()
    assert not [svg for svg in root.all("svg") if str(svg.attributes.get("aria-labelledby")).startswith("map-")]


def test_metrics_from_before_layer_densities(mnist: Run) -> None:
    older = copy.deepcopy(mnist.metrics)
    for arm in ("baseline", "dendritic"):
        for epoch in older[arm]["epochs"]:
            del epoch["layer_densities"]
    older_run = Run(mnist.out, older, b"", parse(report_page.page(older, None)))
    assert {row["density by epoch"] for row in older_run.table("Dendritic layers").values()} == {"–"}


def test_metrics_from_before_titles_and_bytes_of_code(mnist: Run) -> None:
    older = copy.deepcopy(mnist.metrics)
    del older["data"]["title"]
    for arm in ("baseline", "dendritic"):
        for figures in older[arm]["runtimes"].values():
            del figures["memory_code_bytes"]
    assert metrics_file.form_fault(older, metrics_file.FORM) is None
    root = parse(report_page.page(older, None))
    assert root.one("h1").text().startswith("mnist (not the official bytes): ")
    rows = Run(mnist.out, older, b"", root).table("Runtimes").values()
    assert {row["of it code, read once (MB)"] for row in rows} == {"not measured"}


def changed(change: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, Any]], str]:
    def write(metrics: dict[str, Any]) -> str:
        change(metrics)
        return json.dumps(metrics)

    return write


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (lambda _: "", r"is not JSON \(Expecting value"),
        (lambda metrics: json.dumps(metrics)[:-200], r"is not JSON \("),
        (lambda _: "[" * 100_000, r"is not JSON \("),
        (lambda _: "\x00\x01", r"is not JSON \("),
        (lambda _: '{"version": NaN}', r"version is NaN, a number between -1e\+30 and 1e\+30 is expected"),
        (lambda _: "-Infinity", r": it is -Infinity, a number between"),
        (lambda _: f'{{"{"long" * 99}": [1e31]}}', r": (long)+lo?\.\.\. is 1e\+31, a number between"),
        (lambda _: f'{{"version": {"9" * 9999}}}', r"version is Infinity, a number between"),
        (lambda _: '{"a\\nb": NaN}', r": a\\nb is NaN, "),
        (lambda _: "[1]", r"has no version"),
        (lambda _: "{}", r"has no version"),
        (changed(lambda m: m.update(version=2)), r"is of version 2, this Sparbor reads version 1"),
        (changed(lambda m: m.update(version=True)), r"is of version True"),
        (changed(lambda m: m.pop("deployed")), r"deployed is missing"),
        (changed(lambda m: m.update(data=3)), r"data is 3, an object is expected"),
        (changed(lambda m: m["training"].update(seed="0")), r'training\.seed is "0", int is expected'),
        (changed(lambda m: m["data"].update(official=1)), r"data\.official is 1, bool is expected"),
        (changed(lambda m: m["training"].update(epochs=True)), r"training\.epochs is true, int is expected"),
        (changed(lambda m: m["baseline"]["epochs"][1].pop("density")), r"baseline\.epochs\[1\]\.density is missing"),
        (changed(lambda m: m["dendritic"].update(epochs={})), r"dendritic\.epochs is \{\}, a list is expected"),
        (changed(lambda m: m["baseline"]["epochs"].pop()), r"baseline\.epochs has 3 entries, training\.epochs is 4"),
        (
            changed(lambda m: m["baseline"]["runtimes"].update(onnxruntime={})),
            r"baseline\.runtimes\.onnxruntime\.latency_us_median is missing",
        ),
        (changed(lambda m: m["baseline"].update(total_parameters=0)), r"baseline\.total_parameters is 0, "),
        (changed(lambda m: m["data"].update(test_images=0)), r"data\.test_images is 0, "),
        (changed(lambda m: m["deployed"].update(test_accuracy_percent=101)), r"_percent is 101, 0 to 100 is expected"),
        (changed(lambda m: m["training"].update(seed=10**31)), r"training\.seed is 10{31}, a number between"),
        (changed(lambda m: m["recipe"].update(sparsity=math.inf)), r"recipe\.sparsity is Infinity, a number between"),
        (changed(lambda m: m["training"].update(seed=-1)), r"training\.seed is -1, at least 0 is expected"),
        (
            changed(lambda m: m["baseline"]["epochs"][2].update(cpu_seconds=-5.5)),
            r"baseline\.epochs\[2\]\.cpu_seconds is -5\.5, at least 0 is expected",
        ),
        (
            changed(lambda m: m["baseline"]["runtimes"]["torch"].update(latency_us_median=-30.3)),
            r"baseline\.runtimes\.torch\.latency_us_median is -30\.3, at least 0 is expected",
        ),
        (
            changed(lambda m: m["dendritic"]["runtimes"]["sparbor"].update(memory_growth_bytes=-1)),
            r"dendritic\.runtimes\.sparbor\.memory_growth_bytes is -1, at least 0 is expected",
        ),
        (
            changed(lambda m: m["dendritic"]["runtimes"]["sparbor"].update(stored_bytes=-64)),
            r"dendritic\.runtimes\.sparbor\.stored_bytes is -64, at least 0 is expected",
        ),
        (
            changed(lambda m: m["dendritic"].update(training_multiply_adds=-1)),
            r"dendritic\.training_multiply_adds is -1, at least 0 is expected",
        ),
        (
            changed(lambda m: m["dendritic"]["epochs"][0].update(validation_accuracy_percent=100.5)),
            r"dendritic\.epochs\[0\]\.validation_accuracy_percent is 100\.5, 0 to 100 is expected",
        ),
        (
            changed(lambda m: m["dendritic"]["layers"][0].update(sparsity=1.25)),
            r"dendritic\.layers\[0\]\.sparsity is 1\.25, 0 to 1 is expected",
        ),
        (changed(lambda m: m["dendritic"].update(sparsity=1.5)), r"dendritic\.sparsity is 1\.5, at most 1 is expected"),
        (
            changed(lambda m: m["baseline"].update(active_parameters=10**9)),
            r"baseline\.active_parameters is 1000000000, at most total_parameters \(269322\) is expected",
        ),
        (
            changed(lambda m: m["dendritic"]["runtimes"]["torch"].update(latency_us_median=1e9)),
            r"dendritic\.runtimes\.torch\.latency_us_median is 1000000000\.0, at most latency_us_p95 \([\d.]+\) is",
        ),
        (changed(lambda m: m["recipe"].update(budget={})), r"recipe\.budget\.costs is missing"),
        (
            changed(lambda m: m["deployed"]["layers"][0].update(active=7)),
            r"model\.safetensors is of another run: layer 'fc1' has \d+ synapses, and 7 by the metrics; put the",
        ),
    ],
)
def test_damaged_metrics_are_one_line_and_change_nothing(
    content: Callable[[dict[str, Any]], str],
    fault: str,
    mnist: Run,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copy(mnist.out / "model.safetensors", tmp_path)
    (tmp_path / "report.html").write_text("older")
    (tmp_path / "metrics.json").write_text(content(copy.deepcopy(mnist.metrics)))
    assert main(["report", str(tmp_path / "metrics.json")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("sparbor: error: ")
    assert error.count("\n") == 1
    assert re.search(fault, error), error
    assert (tmp_path / "report.html").read_text() == "older"


@st.composite
def damages(draw: st.DrawFn) -> tuple[float, Any]:
    """Where something is damaged, and what stands there then."""
    scalars = st.none() | st.booleans() | st.integers(-(10**40), 10**40) | st.floats() | st.text(max_size=8)
    return draw(st.floats(0, 1, exclude_max=True)), draw(scalars | st.lists(scalars, max_size=2) | st.just({}))


def damage(metrics: dict[str, Any], place: float, value: Any) -> None:
    """Put the value at the place, a share of all places in the metrics."""
    places: list[tuple[Any, Any]] = []

    def visit(part: Any) -> None:
        for key in list(part) if isinstance(part, dict) else range(len(part)):
            places.append((part, key))
            if isinstance(part[key], dict | list):
                visit(part[key])

    visit(metrics)
    part, key = places[int(place * len(places))]
    part[key] = value


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damaged=damages())
def test_any_damage_is_refused_or_shown(damaged: tuple[float, Any], each_run: Run, tmp_path: Path) -> None:
    metrics = copy.deepcopy(each_run.metrics)
    damage(metrics, *damaged)
    file = tmp_path / "metrics.json"
    file.write_text(json.dumps(metrics))
    try:
        read = metrics_file.read(file)
    except StateError:
        return
    parse(report_page.page(read, None))


def test_files_that_cannot_be_read_or_written(mnist: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metrics = str(mnist.out / "metrics.json")
    shutil.copy(metrics, tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"no model")
    for arguments, fault in (
        ([str(tmp_path / "none.json")], r"cannot be read \(No such file or directory\); name the metrics.json"),
        ([str(tmp_path)], r"cannot be read \(Is a directory\)"),
        ([f"{tmp_path}/\0"], r"cannot be read \(.*null byte.*\)"),
        ([metrics, "--out", str(tmp_path)], r"out=.*: it is a directory; name a file"),
        ([metrics, "--out", str(tmp_path / "none" / "page.html")], r"there is no folder .*none'; make it"),
        ([str(tmp_path / "metrics.json")], r"model\.safetensors: "),
    ):
        assert main(["report", *arguments]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert re.search(fault, error), error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.json", "model.safetensors"]


def colours(scheme: str) -> dict[str, str]:
    light, dark = STYLE.split("prefers-color-scheme: dark")
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", light if scheme == "light" else dark))


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(scheme: str) -> None:
    """Of texts and lines, at least 4.5 : 1 (WCAG 2, AA)."""
    palette = colours(scheme)
    assert set(palette) == set(colours("light"))
    for ground in ("paper", "panel"):
        for name in ("ink", "faint", "baseline", "dendritic", "switch", "grown", "taken-back"):
            bright, dim = sorted((luminance(palette[name]), luminance(palette[ground])), reverse=True)
            assert (bright + 0.05) / (dim + 0.05) >= 4.5, (name, ground)


FRAME = """<!DOCTYPE html><meta charset="utf-8">
<iframe style="border: 0; width: {width}px; height: 900px" srcdoc="{page}"></iframe>
<script>
  addEventListener("load", () => {{
    const page = document.querySelector("iframe").contentDocument, root = page.documentElement;
    if (location.hash) page.querySelectorAll("details").forEach(each => each.open = true);
    const wide = [...page.querySelectorAll("body *")].filter(each =>
      !each.closest(".scroll table, pre *") && each.getBoundingClientRect().right > root.clientWidth + 0.5);
    const facts = {{width: root.clientWidth, scroll: root.scrollWidth, height: root.scrollHeight,
      wide: wide.map(each => each.tagName + "." + (each.getAttribute("class") || "")),
      ink: getComputedStyle(page.body).color}};
    document.documentElement.innerHTML = "<body><pre id='facts'></pre>";
    document.getElementById("facts").textContent = JSON.stringify(facts);
  }});
</script>
"""


def laid_out(page: bytes, width: int, directory: Path) -> dict[str, Any]:
    """What Chromium says of the page in a window so wide, all that can unfold unfolded."""
    assert CHROMIUM is not None
    frame = directory / "frame.html"
    frame.write_text(FRAME.format(width=width, page=html.escape(page.decode())))
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        f"--user-data-dir={directory}/c",
    ]
    options += ["--window-size=1500,1000", "--virtual-time-budget=10000", "--dump-dom"]
    done = subprocess.run([CHROMIUM, *options, f"{frame.as_uri()}#open"], capture_output=True, text=True, timeout=120)
    match = re.search(r'<pre id="facts">(.*?)</pre>', done.stdout)
    assert match, done.stderr
    facts: dict[str, Any] = json.loads(html.unescape(match[1]))
    return facts


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (Debian: apt-get install chromium)")
@pytest.mark.parametrize("width", [360, 390, 1280, 1400])
def test_no_page_is_wider_than_its_window(width: int, each_run: Run, tmp_path: Path) -> None:
    page = each_run.page
    if width == 360:
        metrics = {**loud(each_run.metrics), "recipe": each_run.metrics["recipe"]}
        metrics["data"]["source"] = "/very" + 40 * "long" + "/path"
        page = report_page.page(metrics, None)
    facts = laid_out(page, width, tmp_path)
    assert facts["width"] in (width, width - 15), "a scroll bar takes 15"
    assert facts["scroll"] == facts["width"]
    assert facts["wide"] == []
    assert facts["height"] > 2000
