"""Imports go in one direction: a package imports only packages that stand before it in one explicit order."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import sparbor

PACKAGE = Path(sparbor.__file__).parent

# From what knows nothing of the others to what knows them all. A name is a package of sparbor, or a module beside them.
LAYERS = (
    *("printable", "errors", "extras", "files", "termination", "timing", "progress", "native", "workers"),
    *("recipe", "distributed", "topology", "synapses", "nn", "allocation"),
    *("packing", "program", "ops", "engine", "quantization", "lower", "train", "oneshot", "calibration", "export"),
    *("onnxruntime", "onnx", "onnx_import"),
    *("pretrained", "serving", "sentence_transformers"),
    "report",
    *("any_encoding", "cli", "__main__"),
)

# Imports against that order, as (who, whom). There are none: what adds one changes the structure, and says so here.
EXCEPTIONS: set[tuple[str, str]] = set()

# What runs without torch imports nothing that trains. Recipes are plain data, models run with NumPy alone.
WITHOUT_TRAINING = ("recipe", "packing", "program", "engine", "quantization", "export")
TRAINING = ("distributed", "topology", "synapses", "nn", "allocation", "train", "oneshot")


def layer_of(path: Path) -> str:
    """The package that a file of the package lies in, or the module that it is."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported(tree: ast.AST) -> Iterator[str]:
    """Which layers a file imports, anywhere in it: within functions and for type checkers alone too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        yield from (name.split(".")[1] for name in names if name.startswith("sparbor."))


def imports() -> set[tuple[str, str]]:
    """All imports of one layer by another. `sparbor` itself hands names on, and imports what it is asked for."""
    return {
        (layer_of(path), name)
        for path in PACKAGE.rglob("*.py")
        if path != PACKAGE / "__init__.py"
        for name in imported(ast.parse(path.read_text()))
        if name in LAYERS and name != layer_of(path)
    }


def test_every_package_has_its_place() -> None:
    there = {layer_of(path) for path in PACKAGE.rglob("*.py")} - {"__init__"}
    assert there == set(LAYERS)
    assert len(LAYERS) == len(set(LAYERS))


def test_imports_go_in_one_direction() -> None:
    upwards = {(who, whom) for who, whom in imports() if LAYERS.index(whom) > LAYERS.index(who)}
    assert upwards - EXCEPTIONS == set(), "import only from packages that stand before"
    assert EXCEPTIONS - upwards == set(), "these have gone: take them out of EXCEPTIONS"


def test_what_deploys_a_model_knows_nothing_of_how_it_was_trained() -> None:
    assert {whom for who, whom in imports() if who == "lower"} & {"train", "distributed"} == set()


def test_what_runs_without_torch_imports_nothing_that_trains() -> None:
    assert {(who, whom) for who, whom in imports() if who in WITHOUT_TRAINING and whom in TRAINING} == set()


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("from sparbor.train.run import SparseRun", ["train"]),
        ("import sparbor.nn.neuron", ["nn"]),
        ("def f():\n    from sparbor import native", ["native"]),
        ("if TYPE_CHECKING:\n    from sparbor.recipe.recipe import Recipe, METHODS", ["recipe", "recipe"]),
        ("from torch import nn", []),
    ],
)
def test_an_import_is_seen_wherever_it_stands(code: str, found: list[str]) -> None:
    assert list(imported(ast.parse(code))) == found
