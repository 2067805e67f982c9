"""CIFAR-10: as the official batches, or as an image folder, on disk or in a tar.gz archive; or downloaded."""

import logging
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from bench.data import cache
from bench.data.batches import CLASSES, IMAGE, Form, find_form, read_batches
from bench.data.content import official_fault, read_content
from bench.data.dataset import Dataset, Found
from bench.data.errors import DataError
from bench.data.fetch import DEFAULT_LIMITS, Limits, fetch
from bench.data.image_folder import is_image_folder, read_image_folder
from bench.data.sources import use_first
from bench.data.tree import Archive, Directory, Tree, open_archive

logger = logging.getLogger(__name__)

TITLE = "CIFAR-10"
REMEDY = (
    "its batches, its archive or an image folder"
    " (cifar-10-batches-py, cifar-10-python.tar.gz, or train/<class>/*.png|jpg and test/<class>/*)"
)

FOLDERS = (".", "cifar-10-batches-py", "cifar-10-batches-bin", "cifar10", "CIFAR10")
ARCHIVE_START = re.compile(r"cifar-?10(?![0-9])", re.IGNORECASE)  # and not CIFAR-100
ARCHIVE_ENDINGS = (".tar.gz", ".tgz")

ARCHIVE_MD5 = {
    "cifar-10-python.tar.gz": "c58f30108f718f92721af3b95e74349a",
    "cifar-10-binary.tar.gz": "c32a1d4ab5d03f1284b67883e8d87530",
}
MIRRORS = (  # the official server is last of each kind: it sends some 50 kB a second these days
    "https://dataset.bj.bcebos.com/cifar/cifar-10-python.tar.gz",
    "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10/cifar-10-binary.tar.gz",
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
)

DOWNLOAD_LIMITS: Limits = DEFAULT_LIMITS


# A directory or an archive that the user names
# ---------------------------------------------


def find(place: Path) -> Found | None:
    """The first form of CIFAR-10 in a folder of `place`, else the first archive there; or `place`, if it is one."""
    if os.path.isfile(place) and _is_archive(place.name):
        return Found(place.name, partial(_read_archive, place))
    folders = [place / folder for folder in FOLDERS if os.path.isdir(place / folder)]
    for folder in folders:
        if reader := _reader(Directory(folder), str(folder)):
            return reader
    for folder in folders:
        for name in sorted(Directory(folder).entries(), key=lambda name: (name not in ARCHIVE_MD5, name)):
            if _is_archive(name) and ARCHIVE_START.match(name):
                return Found(name, partial(_read_archive, folder / name))
    return None


def what_is_missing(place: Path) -> str:
    """What keeps `place` from holding CIFAR-10."""
    if os.path.isdir(place):  # unlike Path.is_dir, no error where a parent may not be read
        return f"does not hold CIFAR-10 (looked for in {', '.join(FOLDERS)})"
    try:
        os.stat(place)
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return f"is neither a directory nor a {' or '.join(ARCHIVE_ENDINGS)} archive"


def _is_archive(name: str) -> bool:
    return name.lower().endswith(ARCHIVE_ENDINGS)


def _reader(tree: Tree, origin: str) -> Found | None:
    """What reads the files of `tree`; None if they are no CIFAR-10."""
    entries = tree.entries()
    if form := find_form(entries):
        return Found(form.title, partial(_read_batches, tree, form, origin))
    if is_image_folder(entries):
        return Found("train/ and test/", partial(_read_images, tree, origin))
    return None


def _read_archive(path: Path) -> Dataset:
    archive = open_archive(path, read_content(path))
    for tree in _possible_roots(archive):
        if reader := _reader(tree, str(path)):
            return reader.read()
    raise DataError(f"{path}: holds no CIFAR-10: neither batches nor train/ and test/ with a folder for each class")


def _possible_roots(archive: Archive) -> Iterator[Tree]:
    yield archive
    for name in archive.entries():
        if name.endswith("/"):
            yield archive.below(name.removesuffix("/"))


def _read_batches(tree: Tree, form: Form, origin: str) -> Dataset:
    batches = read_batches(tree, form)
    return Dataset(
        name="cifar10",
        origin=origin,
        description="official CIFAR-10" if batches.official else f"{form.title}, not the official CIFAR-10",
        official=batches.official,
        train_images=batches.train[0],
        train_labels=batches.train[1],
        test_images=batches.test[0],
        test_labels=batches.test[1],
        classes=CLASSES,
    )


def _read_images(tree: Tree, origin: str) -> Dataset:
    _, height, width = IMAGE
    folder = read_image_folder(tree, CLASSES, (width, height))
    return Dataset(
        name="cifar10",
        origin=origin,
        description=f"{folder.formats.replace('JPEG', 'JPEG-compressed')} image folder, not the official CIFAR-10",
        official=False,
        train_images=folder.images["train"],
        train_labels=folder.labels["train"],
        test_images=folder.images["test"],
        test_labels=folder.labels["test"],
        classes=CLASSES,
    )


# The cache, and the mirrors that fill it
# ---------------------------------------


def read_cached() -> Dataset:
    """The official CIFAR-10 from the cache, which is filled if need be."""
    for path in _cached_archives():
        if not os.path.exists(path):
            continue
        if not (fault := official_fault(path, ARCHIVE_MD5[path.name])):
            return replace(_read_archive(path), origin=cache.origin_of(path))
        logger.warning("cached file %s is not to be trusted (%s); fetching it again", path, fault)
    origin, path = use_first(TITLE, ((url, partial(_fetch, url)) for url in MIRRORS), REMEDY)
    cache.note_origin(path, origin)
    return replace(_read_archive(path), origin=origin)


def _cached_archives() -> list[Path]:
    return [cache.cache_dir() / "cifar10" / name for name in ARCHIVE_MD5]


def _fetch(url: str) -> Path:
    (path,) = (path for path in _cached_archives() if url.endswith(path.name))
    fetch(url, path, partial(official_fault, md5=ARCHIVE_MD5[path.name]), DOWNLOAD_LIMITS)
    return path
