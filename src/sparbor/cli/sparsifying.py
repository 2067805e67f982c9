"""``sparbor sparsify``: a trained model made sparse in one shot, without labels."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from sparbor.cli.models import KINDS, file_of, is_function, made_by, of_directory
from sparbor.cli.parser import add_command
from sparbor.cli.saying import say
from sparbor.errors import ArgumentError
from sparbor.extras import brought_by
from sparbor.files import check_apart

BATCH = 32  # texts
RETURNED = "the model and batches of what it is called with, `return model, [torch.randn(100, 784)]`"


def add(commands: Any) -> None:
    """The command."""
    about = "Make a trained model sparse in one shot, from a few inputs and without labels."
    command = add_command(commands, "sparsify", sparsify_model, about)
    option = command.add_argument
    option("model", metavar="MODEL", help=KINDS.format(returned="a model and batches of its inputs"))
    option("--out", type=Path, required=True, metavar="DIRECTORY", help="where the sparse model is saved")
    option(
        "--texts", type=Path, metavar="FILE", help="of a directory: some hundred texts like those to come, a line each"
    )
    option("--sparsity", type=float, default=0.5, help="the share of weights that is dropped (default: 0.5)")
    option("--method", choices=("second-order", "wanda", "magnitude"), default="second-order")
    option("--pattern", choices=("slots", "quads"), default="slots", help="quads for 8-bit weights (default: slots)")
    option("--force", action="store_true", help="replace a model in DIRECTORY")


def sparsify_model(options: argparse.Namespace) -> None:
    """Sparsify, save, and say what became of each layer."""
    with brought_by("train", "sparbor sparsify"):
        from sparbor.oneshot.sparsify import sparsify
        from sparbor.pretrained.saving import save_pretrained
        from sparbor.recipe.pattern import Quads, Slots
    _check_out(options.out, options.force, file_of(options.model))
    tokenizer = None
    if is_function(options.model):
        if options.texts is not None:
            raise ArgumentError(f"texts={str(options.texts)!r}: is for a directory's model; leave --texts out")
        model, batches = made_by(options.model, RETURNED)
    else:
        directory, lines = Path(options.model), _lines(options.texts)
        model = of_directory(directory, "sparbor sparsify")
        tokenizer = _tokenizer(directory)
        batches = [dict(tokenizer(group, padding=True, truncation=True, return_tensors="pt")) for group in lines]
    pattern = Quads() if options.pattern == "quads" else Slots()
    report = sparsify(model, batches, options.sparsity, method=options.method, pattern=pattern)
    save_pretrained(model, options.out, tokenizer=tokenizer)
    say(report)
    say(f"{options.out}: sparbor.load_pretrained reads it, and `sparbor deploy {options.out}` makes a file of it")


def _check_out(out: Path, force: bool, model: Path) -> None:
    """Before anything is computed."""
    check_apart(out, model)
    there = next(each for each in (out, *out.absolute().parents) if os.path.lexists(each))
    if not os.path.isdir(there):
        raise ArgumentError(f"out={str(out)!r}: {str(there)!r} is a file; name a directory")
    if there == out and any(out.iterdir()) and not force:
        raise ArgumentError(f"out={str(out)!r}: there is something already; pass --force, or another directory")


def _tokenizer(directory: Path) -> Any:
    import transformers

    fault = f"{str(directory)!r} has no tokenizer: write a function that returns {RETURNED}, and name it FILE.py:NAME"
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(directory, local_files_only=True)
    except Exception as error:  # of a directory without one, in as many ways as there are kinds
        raise ArgumentError(fault) from error
    files = tokenizer.vocab_files_names.values()
    if files and not any((directory / file).is_file() for file in files):  # then it is one that knows no word
        raise ArgumentError(fault)
    return tokenizer


def _lines(texts: Path | None) -> list[list[str]]:
    """The texts of a file, so many at a time."""
    if texts is None:
        raise ArgumentError("texts is missing: a directory's model needs --texts FILE, some hundred texts, a line each")
    try:
        lines = [line for line in texts.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:  # a ValueError is no UTF-8, or a NUL in the path
        raise ArgumentError(f"texts={str(texts)!r}: cannot be read as lines of text ({error})") from error
    if not lines:
        raise ArgumentError(f"texts={str(texts)!r}: has no text; write one into each line")
    return [lines[at : at + BATCH] for at in range(0, len(lines), BATCH)]
