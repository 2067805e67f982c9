"""What sparsity saved: parameters, latency, memory and size, on every runtime that was measured."""

from collections.abc import Callable
from typing import Any
from xml.etree.ElementTree import Element

from sparbor.report.charts import Bar, bar_chart
from sparbor.report.elements import element, figure, paragraph, section, table
from sparbor.report.figures import (
    ARMS,
    billions,
    joules,
    kilobytes,
    megabytes,
    microseconds,
    percent,
    ratio,
    runtime_title,
)

SHORT = {"baseline": "dense", "dendritic": "dendritic"}


def savings_section(metrics: dict[str, Any]) -> Element:
    """Parameters, and the runtimes one by one."""
    figures = metrics["dendritic"]["runtimes"]["sparbor"]
    bars = [
        _bars(metrics, "latency", "Median latency of one image (µs)", "latency_us_median", microseconds),
        _bars(metrics, "stored", "Stored model (KB)", "stored_bytes", kilobytes),
        _bars(metrics, "memory", "Memory to load and run it (MB)", "memory_growth_bytes", megabytes),
    ]
    missing = [
        paragraph(element("strong", f"{runtime_title(name)} was not measured: "), str(reason), class_="note")
        for name, reason in metrics["not_measured"].items()
    ]
    how = paragraph(
        f"One image at a time (batch {figures['batch']}, {figures['threads']} thread); both models and all runtimes"
        " took turns in one process, memory was measured in a fresh one. A mask alone saves nothing in PyTorch:"
        " there a sparse model is as slow and as large as a dense one."
    )
    tables = _parameters(metrics), _budget(metrics), _runtimes(metrics)
    return section("savings", "What did it save?", how, *tables, element("div", *bars, class_="charts"), *missing)


def training_section(metrics: dict[str, Any]) -> Element:
    """What training cost."""
    kinds: list[tuple[str, str, Callable[[Any], str]]] = [
        ("time (s)", "training_seconds", "{:,.1f}".format),
        ("processor time (s)", "training_cpu_seconds", "{:,.1f}".format),
        ("active multiply-adds (10⁹)", "training_multiply_adds", billions),
        ("energy (J)", "training_energy_joules", joules),
    ]
    baseline, dendritic = metrics["baseline"], metrics["dendritic"]
    columns = {
        "": lambda kind: kind[0],
        ARMS["baseline"]: lambda kind: kind[2](baseline[kind[1]]),
        ARMS["dendritic"]: lambda kind: kind[2](dendritic[kind[1]]),
        "dendritic / dense": lambda kind: ratio(dendritic[kind[1]], baseline[kind[1]]),
    }
    what = paragraph(
        "Of all epochs, validation included; multiply-adds are those that active weights need, whichever kernels do"
        " them. Energy is that of all processor packages, where the machine tells."
    )
    return section("training", "What did training cost?", what, table("Training both models", kinds, columns))


def _parameters(metrics: dict[str, Any]) -> Element:
    columns: dict[str, Callable[[str], str]] = {
        "": lambda arm: ARMS[arm],
        "active parameters": lambda arm: f"{metrics[arm]['active_parameters']:,}",
        "of": lambda arm: f"{metrics[arm]['total_parameters']:,}",
        "share": lambda arm: percent(metrics[arm]["active_parameters"] / metrics[arm]["total_parameters"]),
        "sparsity of dendritic layers": lambda arm: percent(metrics[arm]["sparsity"]),
    }
    return table("Parameters, biases included", ARMS, columns)


def _budget(metrics: dict[str, Any]) -> Element | None:
    """What the recipe allows and the model costs, if the recipe has a budget."""
    if (budget := metrics["recipe"].get("budget")) is None:
        return None
    unit = budget["costs"]["unit"]
    return paragraph(
        f"The recipe's budget is {budget[unit]:g} {unit.replace('_', ' ')}; by the costs measured for it, the dendritic"
        f" model needs {metrics['dendritic']['cost']:.6g}."
    )


def _runtimes(metrics: dict[str, Any]) -> Element:
    ours = metrics["dendritic"]["runtimes"]["sparbor"]["latency_us_median"]
    rows = [
        {"title": f"{runtime_title(name)}, {ARMS[arm]}", **metrics[arm]["runtimes"][name]}
        for name in metrics["baseline"]["runtimes"]
        for arm in ARMS
        if name in metrics[arm]["runtimes"]
    ]
    columns: dict[str, Callable[[dict[str, Any]], str]] = {
        "": lambda row: row["title"],
        "latency, median (µs)": lambda row: microseconds(row["latency_us_median"]),
        "95th percentile (µs)": lambda row: microseconds(row["latency_us_p95"]),
        "against dendritic on the engine": lambda row: f"{ratio(row['latency_us_median'], ours)} ×",
        "stored (KB)": lambda row: kilobytes(row["stored_bytes"]),
        "memory to load and run (MB)": lambda row: megabytes(row["memory_growth_bytes"]),
        "of it code, read once (MB)": lambda row: megabytes(row.get("memory_code_bytes")),
        "whole process (MB)": lambda row: megabytes(row["process_peak_bytes"]),
    }
    return table("Runtimes", rows, columns)


def _bars(metrics: dict[str, Any], key: str, title: str, name: str, write: Callable[[Any], str]) -> Element:
    groups = []
    for runtime in metrics["baseline"]["runtimes"]:
        arms = {arm: metrics[arm]["runtimes"].get(runtime, {}).get(name) for arm in ARMS}
        groups.append(
            (runtime_title(runtime), [Bar(arm, value, f"{write(value)} {SHORT[arm]}") for arm, value in arms.items()])
        )
    description = "; ".join(f"{label}: {', '.join(bar.text for bar in bars)}" for label, bars in groups)
    return figure(title, bar_chart(f"{key}-chart", title, description, groups))
