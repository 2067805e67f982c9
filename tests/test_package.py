"""The package as a whole: its names, what importing it costs, and which module may know which."""

import ast
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import sparbor

REPOSITORY = Path(__file__).resolve().parent.parent
SOURCES = sorted(Path(sparbor.__file__).parent.glob("*.py"))
BY_NAME = {path.stem: path for path in SOURCES}
ROWS = re.findall(r"^\| (`.*?) \|", (REPOSITORY / "CONTRIBUTING.md").read_text(), flags=re.MULTILINE)
ORDER = [name for row in ROWS for name in re.findall(r"`(\w+)/?`", row)]
TRAINING = [name for name in ORDER[: ORDER.index("perforator") + 1] if name not in ("errors", "files")]


def test_the_public_names_are_those_that_can_be_imported() -> None:
    assert sparbor.__all__ == sorted(sparbor.__all__, key=lambda name: (not name.isupper(), name))
    assert set(sparbor.__all__) == set(sparbor._HOME)
    assert len(sparbor.__all__) <= 18
    for name in sparbor.__all__:
        assert getattr(sparbor, name).__name__ == name
        assert name in dir(sparbor)
    tree = ast.parse(BY_NAME["__init__"].read_text())
    typed = {
        alias.asname: node.module
        for branch in tree.body
        if isinstance(branch, ast.If)
        for node in branch.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert typed == {name: f"sparbor.{home}" for name, home in sparbor._HOME.items()}


def test_an_unknown_name() -> None:
    with pytest.raises(AttributeError, match="module 'sparbor' has no attribute 'perforation'"):
        _ = sparbor.perforation


def test_the_version_is_the_packages() -> None:
    assert sparbor.__version__ == version("sparbor")


@pytest.mark.parametrize("module", ["sparbor", "sparbor.errors", "sparbor.schedule"])
def test_importing_it_does_not_import_torch(module: str) -> None:
    code = f"import sys, {module}; print(sorted({{'torch', 'numpy', 'matplotlib', 'rich'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def imports_of(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("sparbor."):
            found.add(node.module.removeprefix("sparbor."))
        elif isinstance(node, ast.ImportFrom) and node.module == "sparbor":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {a.name.removeprefix("sparbor.") for a in node.names if a.name.startswith("sparbor")}
    return found


def test_every_module_stands_in_contributing_after_what_it_imports() -> None:
    package = Path(sparbor.__file__).parent
    for path in sorted(package.rglob("*.py")):
        name = path.relative_to(package).parts[0].removesuffix(".py")
        if name != "__init__":
            imported = {module.partition(".")[0] for module in imports_of(path)} - {name, "_native"}
            assert imported <= set(ORDER[: ORDER.index(name)]), path


def code_of(name: str) -> list[ast.AST]:
    return list(ast.walk(ast.parse(BY_NAME[name].read_text())))


@pytest.mark.parametrize("name", ["__init__", "errors", *TRAINING])
def test_library_code_neither_prints_nor_exits_nor_has_global_state(name: str) -> None:
    for node in code_of(name):
        assert not isinstance(node, ast.Global)
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in {"print", "input", "breakpoint", "sys.exit", "exit", "quit"}, f"{name}:{node.lineno}"
            assert not called.startswith(("torch.set_", "torch.manual_seed", "warnings.")), f"{name}:{node.lineno}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_every_file_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))
    assert path.stem not in {"utils", "common", "helpers", "misc"}


@pytest.mark.parametrize("name", TRAINING)
def test_every_public_thing_has_a_docstring(name: str) -> None:
    for node in code_of(name):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not re.match("_", node.name):
            assert ast.get_docstring(node), f"{name}.{node.name}"
