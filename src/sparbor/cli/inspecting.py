"""``sparbor inspect``: what a deployed model consists of."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparbor.cli.parser import add_command, add_json, add_model
from sparbor.cli.saying import say
from sparbor.printable import printable

if TYPE_CHECKING:
    from sparbor.engine.runtime import Runtime


def add(commands: Any) -> None:
    """The command."""
    about = "Show a deployed model's layers: how they are stored and run, density and bytes."
    command = add_command(commands, "inspect", inspect, about)
    add_model(command)
    add_json(command)


def inspect(options: argparse.Namespace) -> None:
    """A line for each layer, and one for the whole model."""
    from sparbor.engine.runtime import load

    file = Path(options.file)
    runtime = load(file)
    if options.json:
        say(json.dumps(_as_data(runtime, file), indent=1))
        return
    layers = [(printable(layer.name), layer) for layer in runtime.describe()]
    width = max([len(name) for name, _ in layers] + [len("layer")])
    heads = f"{'outputs':>8}  {'inputs':>8}  {'stored':<14}  {'runs':<6}  {'density':>8}  {'bytes':>11}  why"
    say(f"{'layer':<{width}}  {heads}")
    for name, layer in layers:
        say(
            f"{name:<{width}}  {layer.outputs:>8}  {layer.fan_in:>8}  {layer.kind + ' ' + layer.weights:<14}"
            f"  {layer.runs:<6}  {layer.density:>8.2%}  {layer.bytes:>11,}  {layer.why}".rstrip()
        )
    if (byte_input := runtime.program.byte_input) is not None:
        say(f"takes {byte_input.in_words()}; byte b of a channel becomes (b / 255 - mean) / std")
    say(in_one_line(runtime, file))


def _as_data(runtime: Runtime, file: Path) -> dict[str, Any]:
    """The same as plain data."""

    def port(each: Any) -> dict[str, Any]:
        return {"name": each.name, "dtype": str(each.dtype), "shape": list(each.shape)}

    return {
        "signature": runtime.signature(),
        "inputs": [port(each) for each in runtime.inputs],
        "outputs": [port(each) for each in runtime.outputs],
        "layers": [dataclasses.asdict(layer) for layer in runtime.describe()],
        "stored_bytes": file.stat().st_size,
        "kernel_set": runtime.isa,
    }


def in_one_line(runtime: Runtime, file: Path) -> str:
    """What a model takes and answers, and how large it is."""
    layers = runtime.describe()
    active = sum(layer.active for layer in layers)
    weights = sum(layer.outputs * layer.fan_in for layer in layers)
    return (
        f"{runtime.signature()}, {active:,} of {weights:,}"
        f" weights active, {file.stat().st_size:,} bytes stored, {runtime.isa} kernels on this machine"
    )
