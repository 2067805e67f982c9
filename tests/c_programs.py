"""Exported C code, compiled and run: on this machine as a library, on others through qemu."""

import ctypes
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparbor.export.c.target import export_c
from sparbor.program.program import Program

STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror")
# By machine: the compiler, what runs its programs, and how programs are linked. One is this machine with every access
# checked.
SANITIZE = "-fsanitize=address,undefined -fno-sanitize-recover=all"
MACHINES = {
    "x86-64": ("gcc", (), "-static"),
    "x86-64-sanitized": ("gcc", (), SANITIZE),
    "aarch64": ("aarch64-linux-gnu-gcc", ("qemu-aarch64",), "-static"),
    "arm": ("arm-linux-gnueabihf-gcc", ("qemu-arm",), "-static"),
}


def needs(*tools: str) -> None:
    """Skip the test where one of the tools is missing."""
    for tool in tools:
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")


class Compiled:
    """An exported program on this machine; compiling it without a warning is part of the test."""

    def __init__(self, program: Program, folder: Path, *flags: str) -> None:
        needs("gcc")
        self.program, self.written = program, export_c(program, folder)
        command = ["gcc", *STRICT, *(flags or ("-O1",)), "-fPIC", "-shared", "model.c", "-o", "model.so", "-lm"]
        subprocess.run(command, cwd=folder, check=True)
        self.library = ctypes.CDLL(str(folder / "model.so"))

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """What the C functions give for a batch, item by item."""
        function = self.library.model_run_u8 if x.dtype == np.uint8 else self.library.model_run
        y = np.empty((len(x), *self.program.items[self.program.output]), np.float32)
        for item, result in zip(x, y, strict=True):
            assert function(pointer(np.ascontiguousarray(item)), pointer(result)) == 0
        return y


def pointer(array: np.ndarray) -> Any:
    """Its address, as C functions take it."""
    return ctypes.c_void_p(array.ctypes.data)


def build(folder: Path, machine: str) -> list[str]:
    """Make `classify` by the export's Makefile for a machine; returns the command that runs it."""
    compiler, emulator, linking = MACHINES[machine]
    needs("make", compiler, *emulator)
    flags = " ".join(("-O2", *STRICT, linking))
    subprocess.run(["make", "-s", f"CC={compiler}", f"CFLAGS={flags}", f"LDFLAGS={linking}"], cwd=folder, check=True)
    return [*emulator, str(folder / "classify")]


def scores(command: list[str], image: Path) -> tuple[np.ndarray, int]:
    """What `classify` prints for an image."""
    done = subprocess.run([*command, str(image)], capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()
    return np.array(first.removeprefix("scores: ").split(), np.float32), int(second.removeprefix("class: "))
