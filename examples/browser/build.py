"""One page that reads the digit you draw: a deployed model as C, the C as WebAssembly, and that within digits.html.

    python examples/browser/build.py

It needs Clang and LLD, and the C library for WebAssembly: Debian's packages clang, lld and wasi-libc, or the wasi-sdk
(--clang /opt/wasi-sdk/bin/clang).
"""

import argparse
import base64
import html
import subprocess
import sys
import tempfile
from pathlib import Path
from string import Template

import sparbor
from sparbor.engine.runtime import Runtime
from sparbor.errors import ArgumentError, SparborError
from sparbor.export.c.target import export_c
from sparbor.files import write_file

HERE = Path(__file__).resolve().parent
SCRIPTS = ("image.js", "network.js", "pen.js", "page.js")  # in the order in which they need each other
FLAGS = (
    "--target=wasm32-wasi",
    "-std=c99",
    "-O2",
    "-msimd128",
    "-nostdlib",
    "-lc",
    "-Wl,--no-entry",
    "-Wl,--strip-all",
)
ROW = (
    '<tr><th scope="row">{}</th><td><div class="groove"><div class="bar"></div></div></td><td class="share"></td></tr>'
)


def check(runtime: Runtime, model: Path) -> None:
    """The page draws an image of 28 x 28 bytes and shows ten scores: another model is refused."""
    program = runtime.program
    shapes = tuple(program.items[program.input]), tuple(program.items[program.output])
    if shapes != ((28, 28), (10,)) or program.byte_input is None:
        raise ArgumentError(
            f"{model} takes {shapes[0]} and answers {shapes[1]}: the page needs a model of one image of 28 x 28 bytes"
            " and ten scores, such as `python main.py --dataset mnist` leaves"
        )


def run(clang: str, *arguments: str) -> str:
    """What Clang prints."""
    try:
        done = subprocess.run([clang, *arguments], capture_output=True, text=True)
    except OSError as error:
        raise ArgumentError(f"--clang={clang!r} does not run ({error.strerror}): install Clang or name it") from error
    if done.returncode != 0:
        raise ArgumentError(
            f"--clang={clang!r} cannot compile for WebAssembly: install LLD and wasi-libc, or name the Clang of the"
            f" wasi-sdk; it said:\n{done.stderr.strip()}"
        )
    return done.stdout


def compile_network(runtime: Runtime, clang: str) -> bytes:
    """The network as a module of WebAssembly that imports nothing."""
    with tempfile.TemporaryDirectory() as folder:
        export_c(runtime.program, folder, "digits")
        run(clang, *FLAGS, f"-I{folder}", str(HERE / "network.c"), f"{folder}/digits.c", "-o", f"{folder}/out")
        return Path(folder, "out").read_bytes()


def page(runtime: Runtime, module: bytes, compiler: str) -> str:
    """The page around a module; it says which compiler made that, since another makes other bytes."""
    layers = runtime.describe()
    active, weights = sum(layer.active for layer in layers), sum(layer.outputs * layer.fan_in for layer in layers)
    words = {
        "dropped": f"{1 - active / weights:.0%}".replace("%", "\N{NO-BREAK SPACE}%"),
        "active": f"{active:,}",
        "weights": f"{weights:,}",
        "kilobytes": f"{len(module) / 1000:.0f}",
        "layers": "–".join(map(str, (layers[0].fan_in, *(layer.outputs for layer in layers)))),
        "rows": "\n".join(ROW.format(digit) for digit in range(10)),
        "style": (HERE / "page.css").read_text("utf-8").strip(),
        "script": "\n".join((HERE / name).read_text("utf-8").strip() for name in SCRIPTS),
        "compiler": html.escape(compiler),
        "module": base64.b64encode(module).decode("ascii"),
    }
    return Template((HERE / "page.html").read_text("utf-8")).substitute(words)


def main() -> None:
    """Build the page; what is wrong is one line, or what the compiler said."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", type=Path, default=HERE / "digits.safetensors", help="a deployed model")
    parser.add_argument("--out", type=Path, default=HERE / "digits.html", help="the page (default: beside this file)")
    parser.add_argument("--clang", default="clang", help="a Clang that compiles for WebAssembly (default: clang)")
    options = parser.parse_args()
    try:
        runtime = sparbor.load(options.model)
        check(runtime, options.model)
        compiler = run(options.clang, "--version").partition("\n")[0]
        content = page(runtime, compile_network(runtime, options.clang), compiler).encode("utf-8")
        write_file(options.out, content)
    except SparborError as error:
        sys.exit(f"error: {error}")
    print(f"{options.out}: {len(content):,} bytes")


if __name__ == "__main__":
    main()
