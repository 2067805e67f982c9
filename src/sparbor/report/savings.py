"""What sparsity saved: parameters, latency, memory and size, on every runtime that was measured."""

from collections.abc import Callable, Mapping
from typing import Any
from xml.etree.ElementTree import Element

from sparbor.report.charts import Bar, bar_chart
from sparbor.report.elements import Child, element
from sparbor.report.figures import NOT_MEASURED, joules, kilobytes, megabytes, percent, ratio, runtime_title
from sparbor.report.figures import billions as in_billions
from sparbor.report.parts import ARMS, figure, paragraph, section, table


def savings_section(metrics: dict[str, Any]) -> Element:
    """Parameters, and the runtimes one by one."""
    figures = metrics["dendritic"]["runtimes"]["sparbor"]
    children: list[Child] = [
        paragraph(
            f"One image at a time (batch {figures['batch']}, {figures['threads']} thread); both models and all runtimes"
            " took turns in one process, memory was measured in a fresh one. A mask alone saves nothing in PyTorch:"
            " there a sparse model is as slow and as large as a dense one."
        ),
        _parameters(metrics),
        _budget(metrics),
        _runtimes(metrics),
        element(
            "div",
            _bars(metrics, "latency", "Median latency of one image (µs)", "latency_us_median", _microseconds),
            _bars(metrics, "stored", "Stored model (KB)", "stored_bytes", kilobytes),
            _bars(metrics, "memory", "Memory to load and run it (MB)", "memory_growth_bytes", megabytes),
            class_="charts",
        ),
    ]
    children += [
        paragraph(element("strong", f"{runtime_title(name)} was not measured: "), str(reason), class_="note")
        for name, reason in metrics["not_measured"].items()
    ]
    return section("savings", "What did it save?", *children)


def training_section(metrics: dict[str, Any]) -> Element:
    """What training cost."""
    baseline, dendritic = metrics["baseline"], metrics["dendritic"]
    kinds: Mapping[str, tuple[str, Callable[[Any], str]]] = {
        "training_seconds": ("time (s)", "{:,.1f}".format),
        "training_cpu_seconds": ("processor time (s)", "{:,.1f}".format),
        "training_multiply_adds": ("active multiply-adds (10⁹)", in_billions),
        "training_energy_joules": ("energy (J)", joules),
    }
    rows = [
        [name, write(baseline[key]), write(dendritic[key]), ratio(dendritic[key], baseline[key])]
        for key, (name, write) in kinds.items()
    ]
    return section(
        "training",
        "What did training cost?",
        paragraph(
            "Of all epochs, validation included; multiply-adds are those that active weights need, whichever kernels do"
            " them. Energy is that of all processor packages, where the machine tells."
        ),
        table("Training both models", ["", *ARMS.values(), "dendritic / dense"], rows),
    )


def _parameters(metrics: dict[str, Any]) -> Element:
    rows = [
        [
            ARMS[arm],
            f"{metrics[arm]['active_parameters']:,}",
            f"{metrics[arm]['total_parameters']:,}",
            percent(metrics[arm]["active_parameters"] / metrics[arm]["total_parameters"]),
            percent(metrics[arm]["sparsity"]),
        ]
        for arm in ARMS
    ]
    headings = ["", "active parameters", "of", "share", "sparsity of dendritic layers"]
    return table("Parameters, biases included", headings, rows)


def _budget(metrics: dict[str, Any]) -> Element | None:
    """What the recipe allows and the model costs, if the recipe has a budget."""
    if (budget := metrics["recipe"].get("budget")) is None:
        return None
    unit = budget["costs"]["unit"]
    return paragraph(
        f"The recipe's budget is {budget[unit]:g} {unit.replace('_', ' ')}; by the costs measured for it, the dendritic"
        f" model needs {metrics['dendritic']['cost']:.6g}."
    )


def _microseconds(value: float) -> str:
    return f"{value:,.2f}"


def _runtimes(metrics: dict[str, Any]) -> Element:
    ours = metrics["dendritic"]["runtimes"]["sparbor"]["latency_us_median"]
    rows = []
    for name in metrics["baseline"]["runtimes"]:
        for arm in ARMS:
            each = metrics[arm]["runtimes"].get(name)
            if each is None:
                continue
            rows.append(
                [
                    f"{runtime_title(name)}, {ARMS[arm]}",
                    _microseconds(each["latency_us_median"]),
                    _microseconds(each["latency_us_p95"]),
                    f"{ratio(each['latency_us_median'], ours)} ×",
                    kilobytes(each["stored_bytes"]),
                    megabytes(each["memory_growth_bytes"]),
                    megabytes(each.get("memory_code_bytes")),
                    megabytes(each["process_peak_bytes"]),
                ]
            )
    headings = [
        "",
        "latency, median (µs)",
        "95th percentile (µs)",
        "against dendritic on the engine",
        "stored (KB)",
        "memory to load and run (MB)",
        "of it code, read once (MB)",
        "whole process (MB)",
    ]
    return table("Runtimes", headings, rows)


def _bars(metrics: dict[str, Any], key: str, title: str, name: str, write: Callable[[Any], str]) -> Element:
    groups = []
    for runtime in metrics["baseline"]["runtimes"]:
        arms = {arm: metrics[arm]["runtimes"].get(runtime, {}).get(name) for arm in ARMS}
        bars = [
            Bar(arm, value, f"{NOT_MEASURED if value is None else write(value)} {SHORT[arm]}")
            for arm, value in arms.items()
        ]
        groups.append((runtime_title(runtime), bars))
    description = "; ".join(f"{label}: {', '.join(bar.text for bar in bars)}" for label, bars in groups)
    return figure(title, bar_chart(f"{key}-chart", title, description, groups))


SHORT = {"baseline": "dense", "dendritic": "dendritic"}
