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


def rows_below(heading: str) -> list[str]:
    """The first cells of a table in CONTRIBUTING, those with names in them."""
    table = (REPOSITORY / "CONTRIBUTING.md").read_text().partition(f"\n| {heading} |")[2].partition("\n\n")[0]
    return re.findall(r"^\| (\*{0,2}`.*?) \|", table, flags=re.MULTILINE)


def listed() -> list[str]:
    """The modules that CONTRIBUTING lists, in its order, as `package.module`; a package stands before its modules."""
    names, package = [], ""
    for row in rows_below("module"):
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
TRAINING = [name for name in ORDER[: ORDER.index("train.perforator")] if path_of(name).exists()]
DEPLOYING = ("packing", "program", "engine", "lower")  # of which training uses parts
TRAINING = [name for name in TRAINING if name.partition(".")[0] not in ("errors", "files", *DEPLOYING)]
TRAINING += [f"lower.{name}" for name in ("neurons", "restored", "chains", "permuted_copy", "sparse_limit")]
TRAINING += ["train.perforator"]


def test_the_public_names_are_those_that_can_be_imported() -> None:
    assert sparbor.__all__ == sorted(sparbor.__all__, key=lambda name: (not name.isupper(), name))
    assert set(sparbor.__all__) == set(sparbor._HOME)
    assert len(sparbor.__all__) <= 26
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


TORCH = ["PAINeuronModule", "Perforator", "calibrated", "deploy", "load_pretrained", "perforate"]
TORCH += ["save_pretrained", "sparsify", "unwrap"]


@pytest.mark.parametrize("name", TORCH)
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


def test_without_transformers_the_callback_names_the_extra() -> None:
    code = WITHOUT.format(package="transformers") + (
        "import sparbor\ntry:\n    sparbor.PerforatingCallback\nexcept sparbor.SparborError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    what = "sparbor.PerforatingCallback needs transformers, which is not installed"
    assert done.stdout == f"{what}: run `pip install 'sparbor[hugging-face]'`\n", done.stderr


def test_without_torch_models_load_and_recipes_can_be_made_and_read() -> None:
    model = REPOSITORY / "tests" / "golden" / "rows.safetensors"
    code = (
        f"import sparbor; sparbor.load({str(model)!r})\n"
        "recipe = sparbor.Recipe(pattern=sparbor.NM(2, 4), sparsity=0.5, schedule=sparbor.Schedule(warmup=0.2),\n"
        "                        growth=sparbor.Growth(), exclude=('head',))\n"
        "assert sparbor.Recipe.from_json(recipe.to_json()) == recipe\n"
        "print(sparbor.Recipe(budget=sparbor.Budget(kilobytes=3)).timeline(1000).switch)"
    )
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT.format(package="torch") + code], capture_output=True, text=True
    )
    assert done.stdout == "100\n", done.stderr


@pytest.mark.parametrize("package", ["torch", "rich", "matplotlib", "PIL", "platformdirs"])
def test_the_benchmark_without_a_package_of_its_extra(package: str, tmp_path: Path) -> None:
    code = WITHOUT.format(package=package) + (
        f"sys.path.insert(0, {str(REPOSITORY)!r}); from bench.job.command import main; sys.exit(main())"
    )
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
    assert f"\nversion: {version('sparbor')}\n" in (REPOSITORY / "CITATION.cff").read_text()


RECIPE = [f"sparbor.recipe.{path.stem}" for path in sorted((PACKAGE / "recipe").glob("[a-z]*.py"))]


@pytest.mark.parametrize("module", ["sparbor", "sparbor.errors", "sparbor.recipe", *RECIPE])
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


BENCH = REPOSITORY / "bench"
MODULES = {"children", "results_file"}  # which stand beside the folders and are no scripts
PARTS = [re.sub(r"\W", "", row) for row in rows_below("part")]


def names_imported_by(path: Path) -> set[str]:
    """Modules, in full, and what is taken from them."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def test_nothing_that_is_installed_knows_of_bench_or_of_main() -> None:
    for path in SOURCES:
        known = {name for name in names_imported_by(path) if name.split(".")[0] in ("bench", "main", "tests")}
        assert not known, f"{path} imports {sorted(known)}"
        assert "bench." not in path.read_text(), f"{path} names a module of bench"


def test_a_part_of_bench_imports_what_stands_before_it_in_contributing_and_scripts_are_imported_by_nothing() -> None:
    folders = {folder.name for folder in BENCH.iterdir() if (folder / "__init__.py").exists()}
    assert folders | MODULES == set(PARTS)
    scripts = {path.stem for path in BENCH.glob("*.py")} - {"__init__", *MODULES}
    assert len(scripts) >= 14
    assert not scripts & folders
    for path in sorted(BENCH.rglob("*.py")):
        part = path.relative_to(BENCH).with_suffix("").parts[0]
        inside = {name.split(".")[1] for name in names_imported_by(path) if re.match(r"bench\.[a-z]", name)}
        assert not inside & scripts, f"{path} imports a script"
        if part in PARTS:
            late = {name for name in inside if PARTS.index(name) > PARTS.index(part)}
            assert not late, f"{path} imports {sorted(late)}"


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
def test_every_file_says_what_it_is_for_and_is_short(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))
    assert path.stem not in {"utils", "common", "helpers", "misc"}
    assert len(path.read_text().splitlines()) <= 400


@pytest.mark.parametrize("name", TRAINING)
def test_every_public_thing_has_a_docstring(name: str) -> None:
    for node in code_of(name):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not re.match("_", node.name):
            assert ast.get_docstring(node), f"{name}.{node.name}"
