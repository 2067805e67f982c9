"""Makes examples/notebooks/*.ipynb from the scripts of examples: ``make notebooks``.

A notebook has the script's text, imports, functions and steps, each in a cell, in their order. What a script takes
from the command line, a notebook has as variables in a cell of its own: those are what its reader changes. Nothing of
a script is run for this, and no outputs are stored: figures are measured where the notebook is run. A test compares
the files with what this makes, and runs them.
"""

from __future__ import annotations

import ast
import re
import textwrap
from pathlib import Path

import nbformat
from nbformat import v4

from sparbor.files import write_file

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
FOLDER = EXAMPLES / "notebooks"
PARAMETERS = "parameters"  # the tag by which papermill knows that cell, too


def scripts() -> list[Path]:
    """The examples of which there are notebooks."""
    return sorted(EXAMPLES.glob("*.py"))


def notebook(script: Path) -> str:
    """The text of a script's notebook."""
    source = re.sub(r"  # noqa: \w+", "", script.read_text())  # which tells a linter something, not the reader
    tree = ast.parse(source)
    main = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "main")
    steps = main.body[_end_of_arguments(main) :]
    made = v4.new_notebook(
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    )
    made.cells = [v4.new_markdown_cell(_introduction(script, ast.get_docstring(tree) or ""))]
    made.cells += [v4.new_code_cell(part) for part in _definitions(source, tree)]
    parameters = _parameters(main)
    _check_names(tree, main, parameters)
    lines = [f"{name} = {value}" + (f"  # {why}" if why else "") for name, (value, why) in parameters.items()]
    made.cells += [v4.new_markdown_cell("**What you choose**: change these before you run what follows.")]
    made.cells += [v4.new_code_cell("\n".join(lines), metadata={"tags": [PARAMETERS]})]
    made.cells += [v4.new_code_cell(part) for part in _paragraphs(source, steps)]
    for number, cell in enumerate(made.cells):
        cell.id = f"cell-{number}"  # else they would be drawn anew each time
    nbformat.validate(made)
    return nbformat.writes(made) + "\n"


def _introduction(script: Path, docstring: str) -> str:
    """The script's docstring without its commands, which are of no use in a notebook but for what they install."""
    paragraphs = docstring.split("\n\n")
    commands = [line.strip() for part in paragraphs if part.startswith("    ") for line in part.splitlines()]
    installs = [f"`{line}`" for line in ("pip install '.[train]'", *commands) if "install" in line]
    title = script.stem.replace("_", " ").capitalize()
    told = [part.replace("\n", " ") for part in paragraphs if not part.startswith("    ")]
    needs = f"It needs {' and '.join(installs)}, in a checkout of Sparbor, and what the next cell imports."
    made = (
        f"`make notebooks` makes this of [`{script.name}`](../{script.name}), which does the same on the command line."
    )
    return "\n\n".join([f"# {title}", *told, f"{needs} {made}"])


def _definitions(source: str, tree: ast.Module) -> list[str]:
    """What stands between the docstring and ``main``: imports and constants, then each function and class."""
    lines = source.splitlines()
    cells: list[list[str]] = [[]]
    last = tree.body[0].end_lineno or 0
    for node in tree.body[1:]:
        defines = isinstance(node, (ast.FunctionDef, ast.ClassDef))
        if defines and node.name == "main":  # type: ignore[union-attr]
            break
        if defines:
            cells.append([])
        cells[-1] += lines[last : node.end_lineno]
        last = node.end_lineno or 0
    # argparse is the command line's alone
    return ["\n".join(line for line in cell if line != "import argparse").strip("\n") for cell in cells]


def _end_of_arguments(main: ast.FunctionDef) -> int:
    """How many statements of ``main`` read the command line."""
    for number, statement in enumerate(main.body):
        if ast.unparse(statement) == "options = parser.parse_args()":
            return number + 1
    raise SystemExit("main of an example must have the statement: options = parser.parse_args()")


def _parameters(main: ast.FunctionDef) -> dict[str, tuple[str, str]]:
    """Of each argument of the command line its name, its value as Python has it, and what it is."""
    found = {}
    for statement in main.body[: _end_of_arguments(main)]:
        call = statement.value if isinstance(statement, ast.Expr) else None
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "parser.add_argument":
            named = ast.literal_eval(call.args[0])
            settings = {word.arg: word.value for word in call.keywords}
            name = named.lstrip("-").replace("-", "_")
            metavar = ast.literal_eval(settings["metavar"]) if "metavar" in settings else name.upper()
            wanted = "required" in settings or not named.startswith("-")  # the reader fills in what is in capitals
            value = ast.unparse(settings["default"]) if "default" in settings else repr(metavar) if wanted else "None"
            value = value.replace("'", '"')
            if wanted and "type" in settings:
                value = f"{ast.unparse(settings['type'])}({value})"
            found[name] = value, ast.literal_eval(settings["help"]) if "help" in settings else ""
    return found


def _check_names(tree: ast.Module, main: ast.FunctionDef, parameters: dict[str, tuple[str, str]]) -> None:
    """A parameter becomes a variable beside those of the script: none of them may have its name."""
    top = {getattr(node, "name", "") for node in tree.body}
    names = {node.id for node in ast.walk(main) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    if both := sorted((top | names) & set(parameters)):
        raise SystemExit(f"an argument and a variable of an example have one name: {', '.join(both)}")


def _paragraphs(source: str, steps: list[ast.stmt]) -> list[str]:
    """The steps of ``main`` as they are written, a cell for each paragraph; arguments are variables."""
    lines = source.splitlines()[steps[0].lineno - 1 : steps[-1].end_lineno]
    text = re.sub(r"\boptions\.(\w+)", r"\1", textwrap.dedent("\n".join(lines)))
    return text.split("\n\n")


def main() -> None:
    for script in scripts():
        write_file(FOLDER / f"{script.stem}.ipynb", notebook(script).encode())
    for path in FOLDER.glob("*.ipynb"):
        if path.stem not in {script.stem for script in scripts()}:
            path.unlink()  # its script is gone


if __name__ == "__main__":
    main()
