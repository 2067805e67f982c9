"""What a person sees of latency.py's rows: how many times faster than whom."""

from collections.abc import Callable, Iterable
from itertools import product
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.inference.engine import DENSE_NAME, NAME
from bench.results_file import ResultsFile

Row = dict[str, Any]
KEY = ("model", "batch", "threads", "sparsity")


def show(console: Console, results: ResultsFile) -> None:
    """All tables."""
    rows = results.rows
    keys = list(dict.fromkeys(tuple(row[name] for name in KEY) for row in rows))
    groups = {key: [row for row in rows if tuple(row[name] for name in KEY) == key] for key in keys}
    for table in (
        measurements(groups),
        ratios(groups),
        kernel_sets(groups),
        bandwidth(groups, results.notes.get("read_bandwidth", [])),
        memory(results.notes.get("memory", [])),
        absent(results.notes.get("not_measured", [])),
    ):
        if table.row_count:
            console.print(table)


def measurements(groups: dict[tuple[Any, ...], list[Row]]) -> Table:
    """Every row. Dense runtimes are given all multiply-adds, sparse ones those with weights that are not zero."""
    table = Table("contest", "runtime", "kind", "masks", "median µs", "p95 µs", "error", "stored KB", title="Measured")
    table.add_column("multiply-adds a ns")
    for key, rows in groups.items():
        for row in sorted(rows, key=lambda row: row["median_us"]):
            name = " ".join(filter(None, [row["runtime"], row["precision"], row["isa"]]))
            table.add_row(
                contest(key),
                name,
                row["kind"],
                row["masks"],
                f"{row['median_us']:.4g}",
                f"{row['p95_us']:.4g}",
                f"{row['max_relative_error']:.1e}",
                f"{row['stored_bytes'] / 1e3:,.0f}",
                f"{row['batch'] * multiply_adds(row) / row['median_us'] / 1e3:.1f}",
            )
    return table


def ratios(groups: dict[tuple[Any, ...], list[Row]]) -> Table:
    """The engine with 16 and with 8 bits and its best kernels against the best rival of each kind, and itself dense."""
    table = Table("contest", "weights", "sparbor µs", "sparbor dense", *BEST)
    table.add_column("equal / varying a synapse")
    table.title = "Times faster: best kernel set and masks as training makes them"
    for (key, rows), precision in product(groups.items(), ("f16", "int8")):
        of_precision = [row for row in rows if row["precision"] == precision]
        ours = best(of_precision, is_ours)
        if ours is None:
            continue
        rivals = [row for row in rows if is_rival(row)]
        table.add_row(
            contest(key),
            f"{precision} {ours['masks']}",
            f"{ours['median_us']:.4g}",
            times_faster(ours, best(of_precision, is_own_dense)),
            *(times_faster(ours, best(rivals, wanted)) for wanted in BEST.values()),
            equal_to_varying(ours, rows),
        )
    return table


def kernel_sets(groups: dict[tuple[Any, ...], list[Row]]) -> Table:
    """Each form of the engine: what an active multiply-add costs, and the best f32 dense rival beside it."""
    table = Table("contest", "isa", "precision", "masks", "median µs", "ps a multiply-add", "best f32 dense")
    table.title = "Engine"
    for key, rows in groups.items():
        dense = best(rows, lambda row: is_rival(row) and is_dense_f32(row))
        for row in filter(is_ours, rows):
            picoseconds = 1e6 * row["median_us"] / row["active_multiply_adds"] / row["batch"]
            table.add_row(
                contest(key),
                row["isa"],
                row["precision"],
                row["masks"],
                f"{row['median_us']:.4g}",
                f"{picoseconds:.1f}",
                times_faster(row, dense),
            )
    return table


def bandwidth(groups: dict[tuple[Any, ...], list[Row]], readings: list[Row]) -> Table:
    """What share of the speed at which one thread reads a buffer of its size the engine reads its model."""
    table = Table(
        "contest", "isa", "precision", "packed MB", "read GB/s", "engine GB/s", "share", title="Read bandwidth"
    )
    for key, rows in groups.items():
        for row in filter(is_ours, rows):
            for reading in readings:
                if tuple(reading[name] for name in KEY) == key and reading["bytes"] == row["packed_bytes"]:
                    speed = row["packed_bytes"] / row["median_us"] / 1e3
                    limit = reading["gigabytes_a_second"]
                    figures = (f"{reading['bytes'] / 1e6:.2f}", f"{limit:.1f}", f"{speed:.1f}", f"{speed / limit:.0%}")
                    table.add_row(contest(key), row["isa"], row["precision"], *figures)
    return table


def memory(rows: list[Row]) -> Table:
    """Growth and whole process."""
    table = Table("model", "sparsity", "runtime", "growth MB", "whole process MB", title="Memory in a fresh process")
    for row in rows:
        figures = (f"{row['growth_bytes'] / 1e6:.1f}", f"{row['process_bytes'] / 1e6:.1f}")
        table.add_row(row["model"], str(row["sparsity"]), row["runtime"], *figures)
    return table


def absent(rows: list[Row]) -> Table:
    """What was not measured, once for each reason."""
    table = Table("runtime", "precision", "isa", "contests", "reason", title="Not measured")
    contests: dict[tuple[str, ...], int] = {}
    for row in rows:
        entry = (row["runtime"], row["precision"], row["isa"] or "", row["reason"])
        contests[entry] = contests.get(entry, 0) + 1
    for (*names, reason), count in contests.items():
        table.add_row(*names, str(count), reason)
    return table


def contest(key: tuple[Any, ...]) -> str:
    """A contest in one cell."""
    model, batch, threads, sparsity = key
    return f"{model}, batch {batch}, {threads} thread{'s' * (threads > 1)}, {sparsity:.4g}"


def is_ours(row: Row) -> bool:
    """The engine, with masks as training makes them."""
    return bool(row["runtime"] == NAME and row["masks"] != "equal")


def is_own_dense(row: Row) -> bool:
    """The engine with every weight active."""
    return bool(row["runtime"] == DENSE_NAME)


def is_rival(row: Row) -> bool:
    """Another runtime than the engine."""
    return row["runtime"] not in (NAME, DENSE_NAME)


def is_dense_f32(row: Row) -> bool:
    """Every weight computed, none rounded."""
    return bool(row["kind"] == "dense" and row["precision"] == "f32")


def multiply_adds(row: Row) -> int:
    """What the runtime has to compute for one input."""
    return int(row["multiply_adds" if row["kind"] == "dense" else "active_multiply_adds"])


# Sorts of rivals, of each of which the best one is named.
BEST: dict[str, Callable[[Row], bool]] = {
    "best f32 dense": is_dense_f32,
    "best dense": lambda row: row["kind"] == "dense",
    "best int8 dense": lambda row: row["kind"] == "dense" and row["precision"] == "int8",
    "best int8": lambda row: row["precision"] == "int8",
    "best sparse f32": lambda row: row["kind"] == "sparse" and row["precision"] == "f32",
    "best sparse": lambda row: row["kind"] == "sparse",
}


def best(rows: Iterable[Row], wanted: Callable[[Row], bool]) -> Row | None:
    """The fastest of those that are wanted."""
    return min(filter(wanted, rows), key=lambda row: float(row["median_us"]), default=None)


def times_faster(ours: Row, rival: Row | None) -> str:
    """The ratio and whose figure it is."""
    if rival is None:
        return ""
    return f"{rival['median_us'] / ours['median_us']:.1f} × ({rival['runtime']} {rival['median_us']:.4g})"


def equal_to_varying(ours: Row, rows: list[Row]) -> str:
    """Time for a synapse with equal slot counts over that with varying ones."""
    same = ("runtime", "precision", "isa")
    for row in rows:
        if row["masks"] == "equal" and all(row[name] == ours[name] for name in same):
            each, our_own = (r["median_us"] / r["active_multiply_adds"] for r in (row, ours))
            return f"{each / our_own:.2f}"
    return ""
