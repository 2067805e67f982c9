"""What a benchmark run leaves behind: a table, ``metrics.json``, two views of it and the model, all or none."""

import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from rich.table import Table

from sparbor.engine.runtime import Runtime
from sparbor.errors import OutputError
from sparbor.files import discard, reason_of, replace_files, write_file
from sparbor.report.figures import (
    billions,
    data_title,
    deployed_as,
    joules,
    megabytes,
    percent,
    runtime_title,
    weights_title,
)
from sparbor.report.page import MODEL as MODEL
from sparbor.report.page import page

METRICS = "metrics.json"
PARTIAL = "metrics.partial.json"
PLOT = "PAI.png"
REPORT = "report.html"
CHECKPOINT = "checkpoint.pt"


def prepare(out: Path) -> None:
    """Make sure that results can be written to ``out``, before any work is done."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except (OSError, ValueError) as error:
        raise OutputError(f"out={str(out)!r}: cannot write there ({reason_of(error)}); choose another --out") from error
    for name in (METRICS, PARTIAL, PLOT, REPORT, MODEL, CHECKPOINT):
        if (out / name).is_dir():
            raise OutputError(f"out={str(out)!r}: {name} is a directory there; remove it or choose another --out")


def publish(out: Path, metrics: dict[str, Any], runtime: Runtime) -> None:
    """Write all results and replace older ones at once; if one cannot be written, the older ones stay."""
    writers: dict[str, Callable[[Path], object]] = {
        MODEL: runtime.save,
        PLOT: lambda file: plot(file, metrics),
        REPORT: lambda file: file.write_bytes(page(metrics, runtime.program)),
        METRICS: lambda file: file.write_bytes(_json(metrics)),
    }
    try:
        replace_files(out, writers)
    except (OSError, OutputError) as error:
        raise OutputError(
            f"out={str(out)!r}: {', '.join(writers)} could not be written ({error});"
            " make room or choose another --out; older results are unchanged"
        ) from error
    for name in (PARTIAL, CHECKPOINT):
        discard(out / name)


def publish_partial(out: Path, metrics: dict[str, Any]) -> None:
    """Keep the finished epochs of a run that is still going, should it be interrupted."""
    write_file(out / PARTIAL, _json(metrics))


def _json(metrics: dict[str, Any]) -> bytes:
    return (json.dumps(metrics, indent=2, allow_nan=False) + "\n").encode()


def plot(file: Path, metrics: dict[str, Any]) -> None:
    """Validation accuracy of both models above the dendritic model's density, by epoch, the switch marked."""
    figure = Figure(figsize=(8, 6), layout="constrained")
    accuracy, density = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    for arm, colour in (("baseline", "tab:gray"), ("dendritic", "tab:blue")):
        epochs = [epoch["epoch"] + 1 for epoch in metrics[arm]["epochs"]]
        percents = [epoch["validation_accuracy_percent"] for epoch in metrics[arm]["epochs"]]
        accuracy.plot(epochs, percents, color=colour, marker="o", label=arm)
    accuracy.set_ylabel("validation accuracy (%)")

    training = metrics["training"]
    changes = [{"step": 0, "density": 1.0}, *metrics["dendritic"]["densities"]]
    changes.append({"step": training["epochs"] * training["steps_an_epoch"], "density": changes[-1]["density"]})
    at = [change["step"] / training["steps_an_epoch"] for change in changes]
    density.step(at, [100 * change["density"] for change in changes], where="post", color="tab:blue")
    density.set_ylim(0, 105 * max(1.0, *(change["density"] for change in changes)))  # new dendrites may add to all
    density.set_ylabel("dendritic model's\nactive weights (%)")
    density.set_xlabel("epochs trained")
    density.xaxis.set_major_locator(MaxNLocator(integer=True))

    for panel in (accuracy, density):
        switch = training["switch_step"] / training["steps_an_epoch"]
        panel.axvline(switch, color="tab:red", linestyle=":", label="switch to dendrite mode")
        _mark_growth(panel, metrics)
        panel.grid(alpha=0.3)
    accuracy.legend(loc="best")
    accuracy.set_title(_plot_title(metrics), wrap=True)
    figure.savefig(file, dpi=150)


def _plot_title(metrics: dict[str, Any]) -> str:
    """One line, or three for data that is not the official."""
    dense, dendritic = metrics["baseline"], metrics["dendritic"]
    figures = (
        f"{dendritic['sparsity']:.1%} sparse, test accuracy {dendritic['test_accuracy_percent']:.2f} % against"
        f" {dense['test_accuracy_percent']:.2f} % dense"
    )
    if metrics["data"]["official"]:
        return f"{data_title(metrics)}: {figures}"
    return f"{data_title(metrics)}\n{figures}\n({metrics['data']['description']})"


def _mark_growth(panel: Axes, metrics: dict[str, Any]) -> None:
    """A line for each growth of dendrites, and one for each that was taken back."""
    styles = {"grown": ("tab:green", "--"), "rolled back": ("tab:orange", "-.")}
    for event in metrics["dendritic"]["growth"]:
        if event["what"] in styles:
            colour, line = styles[event["what"]]
            label = f"dendrites {event['generation'] + 1} {event['what']}"
            panel.axvline(
                event["step"] / metrics["training"]["steps_an_epoch"], color=colour, linestyle=line, label=label
            )


def table(metrics: dict[str, Any]) -> Table:
    """Both models side by side."""
    arms = metrics["baseline"], metrics["dendritic"]
    result = Table(title=f"{data_title(metrics)}, {metrics['training']['epochs']} epochs")
    for heading, justify in (("", "left"), ("baseline", "right"), ("dendritic", "right")):
        result.add_column(heading, justify=justify)  # type: ignore[arg-type]
    result.add_row("test accuracy (%)", *(f"{arm['test_accuracy_percent']:.2f}" for arm in arms))
    result.add_row("validation accuracy (%)", *(f"{arm['validation_accuracy_percent']:.2f}" for arm in arms))
    result.add_row("total parameters", *(f"{arm['total_parameters']:,}" for arm in arms))
    result.add_row("active parameters", *(f"{arm['active_parameters']:,}" for arm in arms))
    result.add_row("sparsity of dendritic layers", *(percent(arm["sparsity"]) for arm in arms))
    for layer in metrics["dendritic"]["layers"]:
        result.add_row(f"  {layer['name']}", percent(None), percent(layer["sparsity"]))
    if (budget := metrics["recipe"].get("budget")) is not None:
        unit = budget["costs"]["unit"]
        result.add_row(f"{unit}, modelled (budget {budget[unit]:g})", "–", f"{metrics['dendritic']['cost']:.6g}")
    _add_effort(result, arms)
    for name in metrics["baseline"]["runtimes"]:
        result.add_section()
        result.add_row(f"{runtime_title(name)}, one image, one thread", "", "")
        figures = [arm["runtimes"][name] for arm in arms]
        result.add_row("  latency, median (µs)", *(f"{each['latency_us_median']:.2f}" for each in figures))
        result.add_row("  latency, 95th percentile (µs)", *(f"{each['latency_us_p95']:.2f}" for each in figures))
        result.add_row("  memory to load and run (MB)", *(megabytes(each["memory_growth_bytes"]) for each in figures))
        result.add_row("    of it code, read once (MB)", *(megabytes(each["memory_code_bytes"]) for each in figures))
        result.add_row("  whole process (MB)", *(megabytes(each["process_peak_bytes"]) for each in figures))
        result.add_row("  stored model (MB)", *(megabytes(each["stored_bytes"]) for each in figures))
    for name, reason in metrics["not_measured"].items():
        result.add_section()
        result.add_row(f"{runtime_title(name)}: not measured", "", "")
        result.add_row(f"  {reason}", "", "")
    result.caption = _caption(metrics)
    return result


def _add_effort(result: Table, arms: Sequence[dict[str, Any]]) -> None:
    """What training cost."""
    result.add_row("training time (s)", *(f"{arm['training_seconds']:.1f}" for arm in arms))
    result.add_row("  processor time (s)", *(f"{arm['training_cpu_seconds']:.1f}" for arm in arms))
    result.add_row("  active multiply-adds (10⁹)", *(billions(arm["training_multiply_adds"]) for arm in arms))
    result.add_row("  energy (J)", *(joules(arm["training_energy_joules"]) for arm in arms))


def _caption(metrics: dict[str, Any]) -> str:
    dense = {name: each["latency_us_median"] for name, each in metrics["baseline"]["runtimes"].items()}
    sparse = metrics["dendritic"]["runtimes"]["sparbor"]["latency_us_median"]
    others = [f"{dense[name] / sparse:.1f} × faster than the baseline on {runtime_title(name)}" for name in dense]
    deployed = [
        f"{each['test_accuracy_percent']:.2f} % with {weights_title(weights)} weights"
        for weights, each in deployed_as(metrics).items()
    ]
    return (
        f"Remaining error reduction: {percent(metrics['remaining_error_reduction'])}. A mask alone saves nothing in"
        f" PyTorch; on the engine the dendritic model is {', '.join(others)}. Deployed, it scores"
        f" {' and '.join(deployed)} on the test set ({metrics['deployed']['kernels']} kernels)."
        f" Data: {metrics['data']['source']}."
    )
