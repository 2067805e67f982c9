"""What a file calls its parts cannot tell a terminal what to do, wherever it is shown."""

import ast
import dataclasses
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import sparbor
from sparbor import cli
from sparbor.cli.program import main
from sparbor.engine.runtime import Runtime
from sparbor.errors import ModelFileError
from sparbor.printable import printable, printable_lines
from sparbor.program.model_file import to_bytes
from sparbor.program.program import Port, Program
from sparbor.progress import shown, tell
from tests.layers import mlp
from tests.test_progress import terminal, wait_for_the_line

# Clears the screen; does so in one character, as some terminals take it; turns text around; begins a line of its own.
EVIL = "fc\x1b[2J\x9b2J\u202e\nsparbor: all is well\x7f"
SHOWN = r"fc\x1b[2J\x9b2J\u202e\nsparbor: all is well\x7f"


def evil_program() -> Program:
    """Whose layer, input and output have that name."""
    program = mlp((64, 32))
    layer = next(iter(program.layers))
    operations = [
        dataclasses.replace(each, layer=EVIL if each.layer == layer else each.layer) for each in program.operations
    ]
    return dataclasses.replace(
        program,
        layers={EVIL: program.layers[layer]},
        operations=tuple(operations),
        inputs=(Port(f"in {EVIL}", program.input),),
        outputs=(Port(f"out {EVIL}", program.output),),
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    Runtime(evil_program()).save(tmp_path / "model")
    return tmp_path / "model"


def said(capfd: pytest.CaptureFixture[str]) -> str:
    """All that the command has printed: lines of nothing but printable characters."""
    captured = capfd.readouterr()
    text = captured.out + captured.err
    assert all(each == "\n" or each.isprintable() for each in text), text
    assert not any(line.startswith("sparbor: all") for line in text.splitlines())
    return text


def test_characters_are_shown_by_their_escapes() -> None:
    assert printable(EVIL) == SHOWN
    assert printable("слой µ-1 \udce9\xa0") == r"слой µ-1 \udce9\xa0"
    assert printable_lines("one\nt\two\n") == "one\nt\\two\n"


def test_inspect(file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(file)]) == 0
    heads, layer, whole = said(capfd).splitlines()
    assert layer.startswith(f"{SHOWN}  ")
    assert heads.index("outputs") + len("outputs") == layer.index("32 ") + len("32")
    assert whole.startswith(f"in {SHOWN} float32 (batch, 64) -> out {SHOWN} float32 (batch, 32), ")
    assert main(["inspect", str(file), "--json"]) == 0
    found = json.loads(said(capfd))
    assert found["layers"][0]["name"] == EVIL
    assert found["inputs"][0]["name"] == f"in {EVIL}"


def test_commands_on_such_a_file(file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "x.npy", np.zeros((2, 64), np.float32))
    run = ["run", str(file), "--input", str(tmp_path / "x.npy"), "--output", str(tmp_path / "y.npy")]
    to_onnx = ["export", str(file), "--to", "onnx", "--out", str(tmp_path / "m.onnx")]
    to_c = ["export", str(file), "--to", "c", "--out", str(tmp_path / "c")]
    for command in (["time", str(file)], run, to_onnx, to_c):
        assert main(command) == 0, capfd.readouterr().err
        said(capfd)
    for each in (tmp_path / "c").iterdir():
        assert "\x1b" not in each.read_text()


def test_a_runtime_in_words(file: Path) -> None:
    runtime = sparbor.load(file)
    assert printable(runtime.signature()) == runtime.signature()
    assert printable(repr(runtime)) == repr(runtime)
    assert printable(repr(runtime.describe())) == repr(runtime.describe())
    assert runtime.describe()[0].name == EVIL


def damaged() -> dict[str, bytes]:
    """Files whose fault has such a name in it."""
    program = evil_program()
    twice = dataclasses.replace(program, inputs=(*program.inputs, *program.inputs))
    unknown = dataclasses.replace(program, operations=(dataclasses.replace(program.operations[0], kind=EVIL),))
    lacking = dataclasses.replace(program, layers={})
    size = dataclasses.replace(program.values[1], shape=(EVIL, 32))
    no_size = dataclasses.replace(program, values=(program.values[0], size, *program.values[2:]))
    return {
        name: to_bytes(each)
        for name, each in {"twice": twice, "unknown": unknown, "lacking": lacking, "size": no_size}.items()
    }


@pytest.mark.parametrize("fault", damaged())
def test_errors_of_the_loader(fault: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "model"
    file.write_bytes(damaged()[fault])
    with pytest.raises(ModelFileError) as refused:
        sparbor.load(file)
    assert str(refused.value).isprintable()
    assert "fc" in str(refused.value)
    for command in (["inspect", str(file)], ["export", str(file), "--to", "c", "--out", str(tmp_path / "c")]):
        assert main(command) == 2
        assert said(capfd).count("\n") == 1


def test_onnx_files(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    weight = numpy_helper.from_array(np.eye(64, dtype=np.float32), EVIL)
    for kind in ("MatMul", EVIL):
        ports = [helper.make_tensor_value_info(port, 1, [EVIL, 64]) for port in (f"x{EVIL}", f"y{EVIL}")]
        node = helper.make_node(kind, [f"x{EVIL}", EVIL], [f"y{EVIL}"], EVIL)
        graph = helper.make_graph([node], EVIL, ports[:1], ports[1:], [weight])
        file = tmp_path / f"{kind == EVIL}.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), file)
        status = 2 * (kind == EVIL)
        for command in (["onnx", "pack"], ["deploy"]):
            assert main([*command, str(file), "--out", str(tmp_path / "out"), "--force"]) == status
            text = said(capfd)
            assert SHOWN in text or "there is nothing to pack" in text


def test_the_line_that_shows_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    out = terminal(monkeypatch)
    with shown("pack"):
        wait_for_the_line()
        tell(EVIL, 1, 2)
    drawn = out.getvalue().replace("\r\x1b[K", "")
    assert r"1 of 2: fc\x1b[2J" in drawn
    assert drawn.isprintable()


def test_commands_print_in_no_other_way() -> None:
    folder = Path(cli.__file__).parent
    printing = {
        path.stem
        for path in folder.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Name) and node.id == "print"
    }
    assert printing == {"saying", "completing"}  # the latter of words that are all ours
