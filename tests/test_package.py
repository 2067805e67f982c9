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
PACKAGE = Path(sparbor.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))


def listed() -> list[str]:
    """The modules that CONTRIBUTING lists, in its order, as `package.module`; a package stands before its modules."""
    names, package = [], ""
    for row in re.findall(r"^\| (\*{0,2}`.*?) \|", (REPOSITORY / "CONTRIBUTING.md").read_text(), flags=re.MULTILINE):
        found = re.findall(r"`(\w+)/?`", row)
        if row.startswith("**"):
            package = f"{found[0]}."
            names.append(found[0])
        else:
            names += [package + name for name in found]
    return names


def path_of(name: str) -> Path:
    """The file of a module of the package."""
    return PACKAGE / f"{name.replace('.', '/')}.py"


def exists(name: str) -> bool:
    """Whether the package has such a module, or a package."""
    return path_of(name).exists() or path_of(name).with_suffix("").is_dir()


ORDER = listed()
TRAINING = [name for name in ORDER[: ORDER.index("training.perforator")] if path_of(name).exists()]
DEPLOYING = ("packing", "program", "engine", "lowering")  # of which training uses parts
TRAINING = [name for name in TRAINING if name.partition(".")[0] not in ("errors", "files", *DEPLOYING)]
TRAINING += [f"lowering.{name}" for name in ("neurons", "restored", "chains", "permuted_copy", "sparse_limit")]
TRAINING += ["training.perforator"]


def test_the_public_names_are_those_that_can_be_imported() -> None:
    assert sparbor.__all__ == sorted(sparbor.__all__, key=lambda name: (not name.isupper(), name))
    assert set(sparbor.__all__) == set(sparbor._HOME)
    assert len(sparbor.__all__) <= 18
    for name in sparbor.__all__:
        assert getattr(sparbor, name).__name__ == name
        assert name in dir(sparbor)
    tree = ast.parse(path_of("__init__").read_text())
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


WITHOUT = "import sys; sys.modules[{package!r}] = None\n"


@pytest.mark.parametrize("name", ["NM", "PAINeuronModule", "Recipe", "calibrated", "deploy", "perforate", "unwrap"])
def test_without_torch_a_name_that_needs_it_names_the_extra(name: str) -> None:
    code = WITHOUT.format(package="torch") + (
        "import sparbor\n"
        f"for get in (lambda: sparbor.{name}, lambda: exec('from sparbor import {name}')):\n"
        "    try:\n        get()\n"
        "    except ImportError as error:\n"
        "        assert isinstance(error, sparbor.SparborError) and error.name == 'torch'\n"
        "        print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    line = f"sparbor.{name} needs torch, which is not installed: run `pip install 'sparbor[train]'`\n"
    assert done.stdout == 2 * line, done.stderr


def test_without_torch_models_load_and_budgets_and_schedules_can_be_made() -> None:
    model = REPOSITORY / "tests" / "golden" / "rows.safetensors"
    code = (
        f"import sparbor; sparbor.load({str(model)!r}); print(sparbor.Budget(kilobytes=3), sparbor.Schedule.__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT.format(package="torch") + code], capture_output=True, text=True
    )
    assert re.match(r"Budget\(.*kilobytes=3, .*\) Schedule\n", done.stdout), done.stderr


@pytest.mark.parametrize("package", ["torch", "rich", "matplotlib", "PIL", "platformdirs"])
def test_the_benchmark_without_a_package_of_its_extra(package: str, tmp_path: Path) -> None:
    code = WITHOUT.format(package=package) + "from sparbor.cli import benchmark_main; sys.exit(benchmark_main())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        f"main.py: error: the benchmark needs {package}, which is not installed:"
        " run `pip install 'sparbor[benchmark]'`\n"
    )
    assert not list(tmp_path.iterdir())


def test_a_package_that_is_there_and_broken_is_not_said_to_be_missing(tmp_path: Path) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("import torch._C")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import sparbor; sparbor.perforate"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == "ModuleNotFoundError: No module named 'torch._C'"


def test_the_version_is_the_packages() -> None:
    assert sparbor.__version__ == version("sparbor")


@pytest.mark.parametrize("module", ["sparbor", "sparbor.errors", "sparbor.topology.schedule"])
def test_importing_it_does_not_import_torch(module: str) -> None:
    code = f"import sys, {module}; print(sorted({{'torch', 'numpy', 'matplotlib', 'rich'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def imports_of(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    assert not any(isinstance(node, ast.ImportFrom) and node.level for node in ast.walk(tree)), (
        f"{path}: a relative import"
    )
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("sparbor."):
            module = node.module.removeprefix("sparbor.")
            modules = {f"{module}.{alias.name}" for alias in node.names}
            found |= {name for name in modules if exists(name)} or {module}
        elif isinstance(node, ast.ImportFrom) and node.module == "sparbor":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {a.name.removeprefix("sparbor.") for a in node.names if a.name.startswith("sparbor")}
    return found


def place(module: str) -> int:
    """Where it stands in CONTRIBUTING, or the package does if its modules are not listed one by one."""
    package, *inside = module.split(".")
    one_by_one = any(name.startswith(f"{package}.") for name in ORDER)
    name = f"{package}.{inside[0]}" if inside and one_by_one else package
    assert name in ORDER, f"{name} does not stand in CONTRIBUTING"
    return ORDER.index(name)


def test_what_contributing_lists_is_there() -> None:
    assert [name for name in ORDER if not exists(name)] == []


def test_every_module_stands_in_contributing_after_what_it_imports() -> None:
    for path in SOURCES:
        module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
        if module != "__init__":
            for imported in imports_of(path) - {"_native", "__version__"}:
                inside = imported.split(".")[:2] == module.split(".")[:2] or place(imported) == place(module)
                assert inside or place(imported) < place(module), f"{path} imports {imported}"


def code_of(name: str) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path_of(name).read_text())))


@pytest.mark.parametrize("name", ["__init__", "errors", *TRAINING])
def test_library_code_neither_prints_nor_exits_nor_has_global_state(name: str) -> None:
    for node in code_of(name):
        assert not isinstance(node, ast.Global)
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in {"print", "input", "breakpoint", "sys.exit", "exit", "quit"}, f"{name}:{node.lineno}"
            assert not called.startswith(("torch.set_", "torch.manual_seed")), f"{name}:{node.lineno}"
            assert not called.startswith("warnings.") or called == "warnings.warn", f"{name}:{node.lineno}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_file_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))
    assert path.stem not in {"utils", "common", "helpers", "misc"}


@pytest.mark.parametrize("name", TRAINING)
def test_every_public_thing_has_a_docstring(name: str) -> None:
    for node in code_of(name):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not re.match("_", node.name):
            assert ast.get_docstring(node), f"{name}.{node.name}"
