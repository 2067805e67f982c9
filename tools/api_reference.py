"""Makes docs/reference.md and docs/reference/ from the docstrings of the public names: ``make reference``.

Nothing of the package is run: griffe reads signatures and docstrings from the source, and the names and where they are
defined come from ``sparbor.__all__``, and from the paths of those that need other packages. A test compares the files
with what this makes.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import griffe

import sparbor
from sparbor.files import write_file

REPOSITORY = Path(__file__).resolve().parent.parent
CONTENTS = REPOSITORY / "docs" / "reference.md"
FOLDER = REPOSITORY / "docs" / "reference"


@dataclass(frozen=True)
class Part:
    """A page of the reference. Names without a dot are those of ``sparbor`` itself."""

    file: str
    title: str
    readers: str
    names: tuple[str, ...]

    def path(self) -> Path:
        """Where it lies."""
        return FOLDER / f"{self.file}.md"


# Every public name stands in one of these, in the order in which a reader meets them.
PARTS = (
    Part(
        "training",
        "Train",
        "For whoever trains a model sparse in a loop of their own. [Train](../train.md) explains what happens.",
        ("perforate", "Perforator"),
    ),
    Part(
        "layers",
        "Sparse layers",
        "For whoever looks into the layers of a model while it trains, or sets their masks.",
        ("PAINeuronModule", "unwrap"),
    ),
    Part(
        "trained-models",
        "Start from a trained model",
        "For whoever has a trained model: [in one shot](../pre-trained.md), or by [fine-tuning](../fine-tuning.md).",
        ("sparsify", "distillation_loss", "PerforatingCallback"),
    ),
    Part(
        "recipes",
        "Recipes",
        "For whoever says how sparse a model becomes, and when. [Recipes](../recipes.md) explains the defaults.",
        ("Recipe", "Schedule", "Budget", "calibrated", "Growth"),
    ),
    Part(
        "patterns",
        "Patterns",
        "For whoever chooses which weights are dropped together. [How it works](../how-it-works.md) explains them.",
        ("Slots", "Quads", "Unstructured", "NM"),
    ),
    Part(
        "deploying",
        "Deploy",
        "For whoever makes a model for the engine. [Deploy](../deploy.md) explains what can be said.",
        ("deploy", "from_onnx", "decoder", "ByteInput"),
    ),
    Part(
        "running",
        "Load and run",
        "For whoever runs a deployed model from Python.",
        ("load", "Runtime", "Session"),
    ),
    Part(
        "saving",
        "Save and serve",
        "For whoever saves or serves models as Hugging Face does. [Save and serve](../serving.md) shows how.",
        (
            *("save_pretrained", "load_pretrained", "sentence_transformers.Encoder"),
            *("sentence_transformers.export_sparbor_model", "sentence_transformers.EmbeddingsMoved"),
            "serving.pipelines.PipelineModel",
        ),
    ),
    Part(
        "exporting",
        "Export, and ONNX files",
        "For whoever takes models to [other runtimes](../onnx.md), to [plain C](../export.md), or packs "
        "[ONNX files](../onnx-pack.md).",
        (
            *("onnx.packing.pack", "onnx.packing.Packed", "onnxruntime.library_path", "onnxruntime.preload_path"),
            *("export.onnx.target.export_onnx", "export.c.target.export_c"),
        ),
    ),
)
# What of a class is for its users; the rest is for the package.
MEMBERS = {
    "Perforator": (
        *("density", "modules", "rows", "mask_copy", "validate", "growth_events", "cost", "set_mode", "state_dict"),
        *("load_state_dict", "detach"),
    ),
    "PAINeuronModule": (
        *("mode", "set_mode", "weight", "set_mask", "apply_mask", "get_sparsity", "active_weights"),
        *("active_parameters", "unwrap"),
    ),
    "Recipe": ("to_dict", "from_dict", "to_json", "from_json"),
    "Runtime": ("save", "describe"),
    "Encoder": ("max_seq_length", "get_embedding_dimension"),
    "PipelineModel": (),
    "EmbeddingsMoved": (),
    "Packed": (),
}

INTRODUCTION = """# Reference

For whoever uses Sparbor from Python and wants to know what a name takes, gives and raises. The pages of the reference
are made from the docstrings by `make reference`; the [start page](index.md) explains the words, and
`sparbor COMMAND --help` describes the command line.
"""


def pages() -> dict[Path, str]:
    """The text of every file of the reference."""
    package = _load()
    return {CONTENTS: _contents(package)} | {part.path(): _page(package, part) for part in PARTS}


def _load() -> griffe.Module:
    named = {name for part in PARTS for name in part.names if "." not in name} | {"SparborError"}
    if named != set(sparbor.__all__):
        sys.exit(f"PARTS and sparbor.__all__ differ in {sorted(named ^ set(sparbor.__all__))}: put each in a part")
    loader = griffe.GriffeLoader(search_paths=[REPOSITORY / "src"], docstring_parser="google")
    package = loader.load("sparbor")
    assert isinstance(package, griffe.Module)
    return package


def _contents(package: griffe.Module) -> str:
    """For each part a line for each name, with the first sentence of its docstring; and the errors."""
    lines = [INTRODUCTION]
    for part in PARTS:
        lines.append(f"## [{part.title}](reference/{part.file}.md)\n\n| name | what it is for |\n|---|---|")
        for name in part.names:
            link = f"[`{name.rpartition('.')[2]}`](reference/{part.file}.md#{_anchor(name)})"
            lines.append(f"| {link} | {_first_sentence(package[_home(name)])} |")
        lines.append("")
    lines.append("## Errors\n\nAll of them are raised with one line that says what is wrong and what to do.\n")
    for error in package["errors"].classes.values():
        lines.append(f"- `{error.path}`: {_prose(error.docstring.value, CONTENTS)}")
    return "\n".join(lines).rstrip() + "\n"


def _page(package: griffe.Module, part: Part) -> str:
    lines = [f"# {part.title}\n\n{part.readers}\n"]
    for name in part.names:
        lines += _entry(package[_home(name)], f"sparbor.{_shown(name)}", part.path())
    return "\n".join(lines).rstrip() + "\n"


def _home(name: str) -> str:
    """Where a name is defined, from the package on."""
    return name if "." in name else f"{sparbor._HOME[name]}.{name}"


def _shown(name: str) -> str:
    """Where users import it from, if that is not where it is defined."""
    return name.replace("onnx.packing.", "onnx.")


def _anchor(name: str) -> str:
    return f"sparbor{_shown(name)}".replace(".", "").lower()


def _first_sentence(thing: griffe.Object) -> str:
    """Up to the first full stop, colon or semicolon that stands in no parentheses."""
    text = _prose(thing.docstring.value, None).split("\n\n")[0].replace("\n", " ").replace("|", r"\|")
    depth = 0
    for place, sign in enumerate(text):
        depth += (sign == "(") - (sign == ")")
        if depth == 0 and sign in ".:;" and text[place + 1 : place + 2] in ("", " "):
            return f"{text[:place]}."
    return f"{text.rstrip('.:;')}."


def _entry(thing: griffe.Object, name: str, page: Path) -> Iterator[str]:
    """A function, or a class and its members."""
    yield f"## {name}\n"
    yield _signature(thing, name)
    yield from _docstring(thing, page)
    for member in MEMBERS.get(thing.name, ()):
        yield from _member(thing[member], page)


def _member(member: griffe.Object | griffe.Alias, page: Path) -> Iterator[str]:
    if isinstance(member, griffe.Alias):  # what a class inherits
        member = member.final_target
    if isinstance(member, griffe.Function):
        yield f"### {member.name}\n"
        yield _signature(member, member.name)
    else:
        yield f"### {member.name}\n\nAn attribute.\n"
    yield from _docstring(member, page)


def _signature(thing: griffe.Object, name: str) -> str:
    function = thing if isinstance(thing, griffe.Function) else _constructor(thing)
    given = [*_parameters(function)] if function is not None else []
    result = ""
    if isinstance(thing, griffe.Function) and thing.returns is not None:
        result = f" -> {str(thing.returns).strip(chr(34))}"
    line = f"{name}({', '.join(given)}){result}"
    if len(line) > 100:
        line = f"{name}(\n    " + ",\n    ".join(given) + f",\n){result}"
    return f"```python\n{line}\n```\n"


def _constructor(thing: griffe.Object) -> griffe.Function | None:
    found = thing.members.get("__init__")
    return found if isinstance(found, griffe.Function) else None


def _parameters(function: griffe.Function) -> Iterator[str]:
    keywords_alone = False
    for each in function.parameters:
        if each.name == "self":
            continue
        if each.kind is griffe.ParameterKind.keyword_only and not keywords_alone:
            keywords_alone = True
            yield "*"
        stars = {griffe.ParameterKind.var_positional: "*", griffe.ParameterKind.var_keyword: "**"}.get(each.kind, "")
        keywords_alone |= each.kind is griffe.ParameterKind.var_positional
        annotation = f": {each.annotation}" if each.annotation is not None else ""
        default = f" = {each.default}" if each.default is not None and not stars else ""
        yield f"{stars}{each.name}{annotation}{default}"


def _docstring(thing: griffe.Object | griffe.Alias, page: Path) -> Iterator[str]:
    lists = {
        griffe.DocstringSectionKind.parameters: ("Arguments", "name"),
        griffe.DocstringSectionKind.attributes: ("Attributes", "name"),
        griffe.DocstringSectionKind.raises: ("Raises", "annotation"),
    }
    for section in thing.docstring.parsed:
        if section.kind is griffe.DocstringSectionKind.text:
            yield f"{_prose(section.value, page, thing.name)}\n"
        elif section.kind in lists:
            heading, called = lists[section.kind]
            items = (f"- `{getattr(each, called)}`: {_item(each.description, page)}" for each in section.value)
            yield f"{heading}:\n\n" + "\n".join(items) + "\n"
        else:
            sys.exit(
                f"{thing.path}: a docstring section of kind {section.kind.value} has no form here yet: give it one"
            )


def _item(text: str, page: Path) -> str:
    return _prose(text, page).replace("\n", "\n  ")


def _prose(text: str, page: Path | None, own_name: str = "") -> str:
    """Markdown: roles of reStructuredText become code, on a page with a link to what they name; examples a block."""

    def named(found: re.Match[str]) -> str:
        short, path = found[1].rpartition(".")[2], None if found[1].endswith(own_name or " ") else page
        return _link(short, path) if found[0].startswith((":class:", ":func:")) else f"`{found[1]}`"

    text = re.sub(r":\w+:`~?([^`]+)`", named, text).replace("``", "`")
    paragraphs = text.split("\n\n")
    return "\n\n".join(f"```pycon\n{each}\n```" if each.startswith(">>>") else each for each in paragraphs)


def _link(name: str, page: Path | None) -> str:
    """A name as code, which leads to its entry if it has one."""
    for part in PARTS if page else ():
        for listed in part.names:
            if listed.rpartition(".")[2] == name:
                file = "" if part.path() == page else f"{part.file}.md"
                return f"[`{name}`]({f'reference/{file}' if page == CONTENTS else file}#{_anchor(listed)})"
    return f"`{name}`"


def main() -> None:
    """Write the files."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    for path, text in pages().items():
        path.parent.mkdir(exist_ok=True)
        write_file(path, text.encode())


if __name__ == "__main__":
    main()
