"""Makes docs/reference.md from the docstrings of the public names: ``make reference``.

Nothing of the package is run: griffe reads signatures and docstrings from the source, and the names and where they are
defined come from ``sparbor.__all__``, and from the paths of those that need other packages. A test compares the file
with what this makes.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import griffe

import sparbor
from sparbor.files import write_file

REPOSITORY = Path(__file__).resolve().parent.parent
PAGE = REPOSITORY / "docs" / "reference.md"

# Every public name stands in one of these, in the order in which a reader meets them.
GROUPS = {
    "Train": ("perforate", "Perforator", "PAINeuronModule", "unwrap"),
    "Start from a trained model": ("sparsify", "distillation_loss", "PerforatingCallback"),
    "Say how sparse": (
        *("Recipe", "Schedule", "Slots", "Quads", "Unstructured", "NM", "Budget", "calibrated", "Growth"),
    ),
    "Save and load as Hugging Face does": ("save_pretrained", "load_pretrained"),
    "Deploy and run": ("deploy", "decoder", "load", "Runtime", "Session", "ByteInput"),
}
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
SERVING = (
    *("sentence_transformers.Encoder", "sentence_transformers.export_sparbor_model"),
    *("sentence_transformers.EmbeddingsMoved", "serving.pipelines.PipelineModel"),
)
EXPORTERS = (
    *("onnx.packing.pack", "onnx.packing.Packed", "onnxruntime.library_path", "onnxruntime.preload_path"),
    *("export.onnx.target.export_onnx", "export.c.target.export_c"),
)

INTRODUCTION = """# Reference

For whoever uses Sparbor from Python and wants to know what a name takes, gives and raises. This page is made from the
docstrings by `make reference`; the [start page](index.md) explains the words, and `sparbor COMMAND --help` describes
the command line.
"""


def page() -> str:
    """The text of docs/reference.md."""
    package = _load()
    parts = [INTRODUCTION, *_contents(package)]
    for group, names in GROUPS.items():
        parts.append(f"## {group}\n")
        for name in names:
            parts += _entry(package[_home(name)], f"sparbor.{name}")
    for heading, paths in (("Serve", SERVING), ("Export, and ONNX files", EXPORTERS)):
        parts.append(f"## {heading}\n")
        for path in paths:
            parts += _entry(package[path], f"sparbor.{_shown(path)}")
    parts.append("## Errors\n\nAll of them are raised with one line that says what is wrong and what to do.\n")
    for error in package["errors"].classes.values():
        parts.append(f"- `{error.path}`: {_prose(error.docstring.value)}")
    return "\n".join(parts).rstrip() + "\n"


def _load() -> griffe.Module:
    named = {name for names in GROUPS.values() for name in names} | {"SparborError"}
    if named != set(sparbor.__all__):
        sys.exit(f"GROUPS and sparbor.__all__ differ in {sorted(named ^ set(sparbor.__all__))}: put each in a group")
    loader = griffe.GriffeLoader(search_paths=[REPOSITORY / "src"], docstring_parser="google")
    package = loader.load("sparbor")
    assert isinstance(package, griffe.Module)
    return package


def _home(name: str) -> str:
    return f"{sparbor._HOME[name]}.{name}"


def _contents(package: griffe.Module) -> Iterator[str]:
    """A line for each name, with the first sentence of its docstring."""
    yield "| name | what it is for |\n|---|---|"
    for names in GROUPS.values():
        for name in names:
            yield f"| [`{name}`](#sparbor{name.lower()}) | {_first_sentence(package[_home(name)])} |"
    for path in (*SERVING, *EXPORTERS):
        anchor = f"sparbor{_shown(path)}".replace(".", "").lower()
        yield f"| [`{path.rpartition('.')[2]}`](#{anchor}) | {_first_sentence(package[path])} |"
    yield ""


def _shown(path: str) -> str:
    """Where users import it from, if that is not where it is defined."""
    return path.replace("onnx.packing.", "onnx.")


def _first_sentence(thing: griffe.Object) -> str:
    text = _prose(thing.docstring.value).split("\n\n")[0].replace("\n", " ").replace("|", r"\|")
    return re.split(r"(?<=[.:;]) ", text)[0].rstrip(".:;") + "."


def _entry(thing: griffe.Object, name: str) -> Iterator[str]:
    """A function, or a class and its members."""
    yield f"### {name}\n"
    yield _signature(thing, name)
    yield from _docstring(thing)
    for member in MEMBERS.get(thing.name, ()):
        yield from _member(thing[member])


def _member(member: griffe.Object | griffe.Alias) -> Iterator[str]:
    if isinstance(member, griffe.Alias):  # what a class inherits
        member = member.final_target
    if isinstance(member, griffe.Function):
        yield f"#### {member.name}\n"
        yield _signature(member, member.name)
    else:
        yield f"#### {member.name}\n\nAn attribute.\n"
    yield from _docstring(member)


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


def _docstring(thing: griffe.Object | griffe.Alias) -> Iterator[str]:
    for section in thing.docstring.parsed:
        if section.kind is griffe.DocstringSectionKind.text:
            yield f"{_prose(section.value)}\n"
        elif section.kind is griffe.DocstringSectionKind.parameters:
            yield "Arguments:\n"
            yield "\n".join(f"- `{each.name}`: {_item(each.description)}" for each in section.value) + "\n"
        elif section.kind is griffe.DocstringSectionKind.attributes:
            yield "Attributes:\n"
            yield "\n".join(f"- `{each.name}`: {_item(each.description)}" for each in section.value) + "\n"
        elif section.kind is griffe.DocstringSectionKind.raises:
            yield "Raises:\n"
            yield "\n".join(f"- `{each.annotation}`: {_item(each.description)}" for each in section.value) + "\n"
        else:
            sys.exit(
                f"{thing.path}: a docstring section of kind {section.kind.value} has no form here yet: give it one"
            )


def _item(text: str) -> str:
    return _prose(text).replace("\n", "\n  ")


def _prose(text: str) -> str:
    """Markdown: roles of reStructuredText become code, examples a block."""
    text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text).replace("``", "`")
    paragraphs = text.split("\n\n")
    return "\n\n".join(f"```pycon\n{each}\n```" if each.startswith(">>>") else each for each in paragraphs)


def main() -> None:
    """Write the page."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    write_file(PAGE, page().encode())


if __name__ == "__main__":
    main()
