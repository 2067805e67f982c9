"""Runs the golden models through the Sparbor that is installed, by its command line, and compares the answers.

It needs what a deployed model needs, NumPy and safetensors: ``python tests/golden/check.py``. With ``--write`` it
records the answers instead.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
CASES = (  # a model, the input, the answer: those of the middle are what the models compute before their norms
    ("rows", "rows", "rows"),
    ("version_1", "rows", "rows"),
    ("rows_version_2", "rows", "rows"),
    ("planes_version_2", "planes", "planes"),
    ("rows_middle", "rows", "rows_middle"),
    ("planes", "planes", "planes"),
    ("planes_middle", "planes", "planes_middle"),
    ("planes_middle", "bytes", "bytes_middle"),
    ("sparse_bytes", "planes", "sparse_bytes"),
)
TOLERANCE = 1e-5  # absolute below 1, relative above


def sparbor(*arguments: str) -> str:
    """What the command prints."""
    command = [sys.executable, "-m", "sparbor", *arguments]
    return subprocess.run(command, check=True, text=True, encoding="utf-8", stdout=subprocess.PIPE).stdout


def answer(model: str, given: str, folder: Path) -> np.ndarray:
    """What the model makes of this input."""
    model_file, input_file, output_file = HERE / f"{model}.safetensors", HERE / f"{given}.input.npy", folder / "y.npy"
    sparbor("run", str(model_file), "--input", str(input_file), "--output", str(output_file))
    return np.load(output_file)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for model, given, expected in CASES:
            found, recorded = answer(model, given, Path(folder)), HERE / f"{expected}.output.npy"
            if "--write" in sys.argv[1:]:
                np.save(recorded, found)
            wanted = np.load(recorded)
            scale = np.maximum(1, np.abs(wanted))
            error = (np.abs(found - wanted) / scale).max() if found.shape == wanted.shape else np.inf
            print(f"{model} on {given}: largest difference {error:.1e}")
            if not error <= TOLERANCE:
                sys.exit(f"{model} on {given}: the answers differ by {error:.1e}, more than {TOLERANCE:.0e}")
    model = str(HERE / "planes.safetensors")
    print(sparbor("inspect", model) + sparbor("time", model), end="")


if __name__ == "__main__":
    main()
