"""The tables of docs/results.md and README: what committed results say, in cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from bench.inference.engine import DENSE_NAME
from bench.inference.report import best, is_dense_f32, is_ours, is_rival
from bench.study.report import markdown
from bench.study.rows import Row
from bench.study.tables import Group, Line, lines, with_interval, with_spread

NETWORKS = {
    "seed-mlp": "MLP 784-256-256-10 (MNIST)",
    "vit-b-mlp": "linear layer 3072 → 768",
    "mlp-2048x4": "MLP of four 2048 × 2048 layers",
    "seed-cnn-erk": "CNN for CIFAR-10",
    "resnet18-cifar": "ResNet-18, 32 × 32",
    "resnet18-imagenet": "ResNet-18, 224 × 224",
    "resnet50-imagenet": "ResNet-50, 224 × 224",
    "mobilenetv2": "MobileNetV2, 224 × 224",
    "efficientnet-b0": "EfficientNet-B0, 224 × 224",
    "minilm-16": "MiniLM, 16 tokens",
    "minilm-128": "MiniLM, 128 tokens",
}
# Of which README says how fast they are: not more than eight.
IN_README = (
    *("seed-mlp", "mlp-2048x4", "seed-cnn-erk", "resnet18-imagenet", "resnet50-imagenet"),
    *("mobilenetv2", "efficientnet-b0", "minilm-128"),
)
RIVALS = {
    "onnxruntime": "ONNX Runtime",
    "onnxruntime-int8": "ONNX Runtime INT8",
    "openvino": "OpenVINO",
    "openvino-int8": "OpenVINO INT8",
    "openvino-int8-sparse": "OpenVINO INT8, zeros left out",
    "torch-eager": "PyTorch",
    "torch-compile": "torch.compile",
    "torch-csr": "PyTorch CSR",
    "scipy-csr": "SciPy CSR",
    "sparselab": "SparseLab",
    "deepsparse": "DeepSparse",
    "perforatedai": "PerforatedAI",
}
RIVAL_HEADINGS = ("best dense f32", "best INT8", "best sparse f32")
SWEPT = ("seed-cnn", "seed-cnn-erk", "resnet18-cifar", "resnet18-imagenet")


class Accuracy(NamedTuple):
    """A line of the accuracy tables: what it is called here, and where the study has it."""

    label: str
    arm: str
    sparsity: float = 0.0
    schedule: str = "constant"
    epochs: int = 6


ACCURACIES = {
    "mnist": (
        Accuracy("dense", "dense"),
        Accuracy("70 % sparse", "slots", 0.7),
        Accuracy("90 % sparse", "slots", 0.9),
        Accuracy("97 % sparse", "slots", 0.97),
        Accuracy("a dense network of the size at 90 %", "small-dense", 0.9),
        Accuracy("dense, cosine learning rate", "dense", schedule="cosine"),
        Accuracy("90 % sparse, cosine learning rate", "slots", 0.9, "cosine"),
        Accuracy("95 % sparse, cosine learning rate", "slots", 0.95, "cosine"),
    ),
    "cifar10": (
        Accuracy("dense", "dense"),
        Accuracy("65 % sparse", "slots", 0.65),
        Accuracy("80 % sparse", "slots", 0.8),
        Accuracy("90 % sparse", "slots", 0.9),
        Accuracy("95 % sparse", "slots", 0.95),
        Accuracy("98 % sparse", "slots", 0.98),
        Accuracy("a dense network of the size at 90 %", "small-dense", 0.9),
        Accuracy("dense, 15 epochs", "dense", epochs=15),
        Accuracy("90 % sparse, 15 epochs", "slots", 0.9, epochs=15),
        Accuracy("dense, cosine learning rate", "dense", schedule="cosine"),
        Accuracy("90 % sparse, cosine learning rate", "slots", 0.9, "cosine"),
    ),
}


class Speed(NamedTuple):
    """The rows of one contest that a reader compares: the engine, and the best rival of each kind, if there is one."""

    model: str
    network: str
    ours: Row
    own_dense: Row | None
    f32: Row | None
    int8: Row | None
    sparse: Row | None


def speed(rows: Sequence[Row], model: str, precision: str, *, sparsity: float = 0.9, batch: int = 1) -> Speed | None:
    """The engine and its best rivals in one contest of latency.py, on one thread; ``None`` if it was not held.

    ``precision`` is that of the engine's weights, ``"f16"`` or ``"int8"``; the latter on masks of quads.
    """
    contest = {"model": model, "sparsity": sparsity, "batch": batch, "threads": 1}
    held = [row for row in rows if contest.items() <= row.items()]
    patterns = {"f16": ("varying", "quads"), "int8": ("quads",)}[precision]
    ours = best(held, lambda row: is_ours(row) and row["precision"] == precision and row["masks"] in patterns)
    if ours is None:
        return None
    name = NETWORKS.get(model, model)
    return Speed(
        model,
        name if batch == 1 else f"{name}, batch {batch}",
        ours,
        best(held, lambda row: row["runtime"] == DENSE_NAME and row["precision"] == precision),
        best(held, lambda row: is_rival(row) and is_dense_f32(row)),
        best(held, lambda row: is_rival(row) and row["precision"] == "int8"),
        best(held, lambda row: is_rival(row) and row["kind"] == "sparse" and row["precision"] == "f32"),
    )


def readme_table(speeds: Sequence[Speed]) -> str:
    """The engine with 8 bits beside its best rivals."""
    table = [(each.network, duration(each.ours), *rivals(each)[:2]) for each in speeds if each.model in IN_README]
    return markdown(("90 % sparse, one input, one thread", "Sparbor", *RIVAL_HEADINGS[:2]), table)


def eight_bits_table(speeds: Sequence[Speed], rows: Sequence[Row]) -> str:
    """The engine with 8 bits, how much longer it takes with 16, its best rivals, and how far all move the answers."""
    table = []
    for each in speeds:
        words = speed(rows, each.model, "f16", batch=each.ours["batch"])
        table.append(
            (
                each.network,
                duration(each.ours),
                ratio(each.ours, words.ours) if words else "",
                *rivals(each)[:2],
                " / ".join(moved(row) for row in (each.ours, each.int8) if row),
                f"{each.ours['stored_bytes'] / 1e6:.2f} MB",
            )
        )
    headings = ("network", "Sparbor, 8 bits", "16 bits", *RIVAL_HEADINGS[:2], "answers off by, ours / theirs", "file")
    return markdown(headings, table)


def moved(row: Row) -> str:
    """The relative error of the answers against PyTorch's."""
    return f"{100 * row['max_relative_error']:.2g} %"


def latency_table(speeds: Sequence[Speed]) -> str:
    """The same networks, with the engine's own dense form and the best sparse rival."""
    table = [
        (
            each.network,
            duration(each.ours),
            ratio(each.ours, each.own_dense),
            *rivals(each),
            f"{each.ours['stored_bytes'] / 1e6:.2f} MB",
        )
        for each in speeds
    ]
    return markdown(("network", "Sparbor", "its own dense", *RIVAL_HEADINGS, "file"), table)


def rivals(speed: Speed) -> tuple[str, ...]:
    """What stands under ``RIVAL_HEADINGS``."""
    return tuple(against(speed.ours, rival) for rival in (speed.f32, speed.int8, speed.sparse))


def took_part(rows: Sequence[Row]) -> str:
    """The rivals that have rows."""
    return ", ".join(dict.fromkeys(RIVALS[row["runtime"]] for row in rows if is_rival(row)))


def plainly(speeds: Sequence[Speed]) -> str:
    """Which networks a rival runs faster in INT8 than the engine runs them sparse."""
    behind = [each for each in speeds if each.int8 and each.int8["median_us"] < each.ours["median_us"]]
    if not behind:
        return ""
    names = "; ".join(f"{each.network}, {against(each.ours, each.int8)}" for each in behind)
    return f"**Where a rival's INT8 is faster than Sparbor at 90 %:** {names}.\n\n"


def sweep_table(rows: Sequence[Row]) -> str:
    """The best dense f32 rival's time over the engine's, by sparsity."""
    wanted = (0.0, 0.5, 0.65, 0.7, 0.8, 0.9, 0.95, 0.99)
    names = {**NETWORKS, "seed-cnn": "CNN for CIFAR-10, every layer alike", "seed-cnn-erk": "CNN for CIFAR-10, ERK"}
    table = []
    for model in SWEPT:
        held = [speed(rows, model, "f16", sparsity=sparsity) for sparsity in wanted]
        table.append((names[model], *(ratio(each.ours, each.f32) if each else "" for each in held)))
    return markdown(("network", *(f"{100 * sparsity:.0f} %" for sparsity in wanted)), table)


def batch_table(rows: Sequence[Row]) -> str:
    """Batches beyond one, of the models that were measured with them."""
    batches = sorted({row["batch"] for row in rows if row["model"] == "mlp-2048x4"} - {1})
    held = [speed(rows, "mlp-2048x4", "f16", batch=batch) for batch in batches]
    table = [(each.network, duration(each.ours), *rivals(each)) for each in held if each]
    return markdown(("network", "Sparbor", *RIVAL_HEADINGS), table)


def duration(row: Row) -> str:
    """Microseconds, or milliseconds from a thousand on."""
    time = row["median_us"]
    return f"{time:.3g} µs" if time < 1000 else f"{time / 1000:.3g} ms"


def ratio(ours: Row, rival: Row | None) -> str:
    """The rival's time over ours."""
    if rival is None:
        return ""
    times = rival["median_us"] / ours["median_us"]
    return f"{times:.1f} ×" if times >= 1.95 else f"{times:.2f} ×"


def against(ours: Row, rival: Row | None) -> str:
    """The ratio, and whose time it is."""
    return "" if rival is None else f"{ratio(ours, rival)} ({RIVALS[rival['runtime']]}, {duration(rival)})"


def accuracy_table(rows: Sequence[Row], dataset: str) -> str:
    """The lines of ``ACCURACIES``; those without current rows say so."""
    headings = (
        *("", "active parameters", "test accuracy (%)", "paired difference", "remaining error reduction"),
        *("seeds", "commits"),
    )
    return markdown(headings, [accuracy_cells(rows, dataset, wanted) for wanted in ACCURACIES[dataset]])


def accuracy_cells(rows: Sequence[Row], dataset: str, wanted: Accuracy) -> tuple[str, ...]:
    """One line of a table."""
    line = accuracy_line(rows, dataset, wanted)
    if line is None:
        return (wanted.label, "", "not measured", "", "", "", "")
    reduction = "" if line.error_reduction is None else f"{100 * line.error_reduction:.1f} %"
    tests = list(line.tests.values())
    return (
        wanted.label,
        f"{line.active:,.0f}",
        with_spread(tests),
        with_interval(line.against_dense),
        reduction,
        str(len(tests)),
        line.commits,
    )


def accuracy_line(rows: Sequence[Row], dataset: str, wanted: Accuracy) -> Line | None:
    """The study's line for it, if there are rows."""
    group = Group(dataset, wanted.schedule, wanted.epochs)
    found = (line for line in lines(rows, group) if (line.arm, line.sparsity) == (wanted.arm, wanted.sparsity))
    return next(found, None)
