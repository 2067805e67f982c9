"""Files that nobody trusts, exported where no engine is built to check them: written, or refused by name."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from sparbor import native
from sparbor.errors import ArgumentError, SparborError
from sparbor.export.structure import LAYERS
from sparbor.export.targets import EXPORTERS
from sparbor.ops.table import OPERATORS
from sparbor.program.model_file import load
from tests import test_program
from tests.test_c_api import mutant


@pytest.fixture(autouse=True)
def _no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "built", False)


def export(data: bytes, to: str, folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(data)
    EXPORTERS[to](load(folder / "model.safetensors"), folder / to, "model", True, False)


@pytest.mark.parametrize("to", EXPORTERS)
@pytest.mark.parametrize("name", test_program.GOLDEN_PROGRAMS)
def test_changed_files_are_written_or_refused(name: str, to: str, tmp_path: Path) -> None:
    export(test_program.golden_bytes(name), to, tmp_path)
    rng, refused = random.Random(0), list[str]()
    for _ in range(60):
        try:
            export(mutant(rng, name), to, tmp_path)
        except SparborError as error:
            refused.append(str(error))
    assert len(refused) > 20
    assert not any("\n" in each for each in refused)


def settings(place: int, **changed: object) -> Callable[[dict], None]:
    return lambda graph: graph["operations"][place]["settings"].update(changed)


LIES: list[tuple[str, Callable[[dict], None], str]] = [
    ("quantized", settings(1, kernel=[2**26, 1]), "steps are not between 1 and 65536"),
    ("quantized", settings(5, kernel=[2**13, 2**13]), "has the kernel .* of more than 8,388,608 places"),
    ("quantized", settings(1, padding=[2**16, 0, 2**16, 2**16]), "none, or too many"),
    ("quantized", lambda graph: graph["values"][1].pop("step"), "has the value 1, which is not quantized"),
    ("quantized", lambda graph: graph["operations"][2].pop("activation"), "has no activation"),
    ("dense_bytes", lambda graph: graph["operations"][1].update(layer="rows"), "which is a DenseLayer"),
    ("quads", lambda graph: graph["layers"]["whole"].update(fan_in=2**26), "whose arrays are none of 20 x 67108864"),
    ("planes", lambda graph: graph["operations"][1].pop("settings"), "has the settings None, and takes Window"),
]


@pytest.mark.parametrize("to", EXPORTERS)
@pytest.mark.parametrize(("name", "change", "text"), LIES)
def test_lies_are_named(name: str, change: Callable[[dict], None], text: str, to: str, tmp_path: Path) -> None:
    data = test_program.with_graph(change, test_program.golden_bytes(name))
    with pytest.raises(ArgumentError, match=text):
        export(data, to, tmp_path)


def test_every_operation_with_a_layer_says_of_which_kinds() -> None:
    assert LAYERS.keys() == {kind for kind, operator in OPERATORS.items() if operator.layer != "no"}
