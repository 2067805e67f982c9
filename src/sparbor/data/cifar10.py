"""CIFAR-10: where it may lie, and in which forms."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from sparbor.data.content import read_content
from sparbor.data.dataset import Dataset, Found
from sparbor.data.image_folder import is_image_folder, read_image_folder
from sparbor.data.tree import Archive, Directory, Tree, open_archive
from sparbor.errors import DataError

TITLE = "CIFAR-10"
REMEDY = "an image folder (train/<class>/*.png|jpg, test/<class>/...) or a .tar.gz of one"

CLASSES = 10
SIZE = (32, 32)
FOLDERS = (".", "cifar10", "CIFAR10", "cifar-10")
ARCHIVE_ENDINGS = (".tar.gz", ".tgz", ".tar")


def find(place: Path) -> Found | None:
    """CIFAR-10 in the first folder of `place` that holds some form of it, or in the archive at `place`."""
    if os.path.isfile(place) and place.name.lower().endswith(ARCHIVE_ENDINGS):
        return Found(place.name, partial(_read_archive, place))
    if not os.path.isdir(place):  # unlike Path.is_dir, no error where a parent may not be read
        return None
    for folder in FOLDERS:
        if os.path.isdir(place / folder) and (found := _find_in(place / folder)):
            return found
    return None


def what_is_missing(place: Path) -> str:
    """What keeps `place` from holding CIFAR-10."""
    if not os.path.exists(place):
        return "does not exist"
    if not os.path.isdir(place):
        return f"is neither a directory nor an archive ({', '.join(ARCHIVE_ENDINGS)})"
    return f"does not hold CIFAR-10 (looked for in {', '.join(FOLDERS)})"


def read_cached() -> Dataset:
    """CIFAR-10 is not downloaded yet."""
    raise DataError(f"CIFAR-10 is not in the cache; name a directory that holds {REMEDY} (--data-dir or SPARBOR_DATA)")


def _find_in(folder: Path) -> Found | None:
    tree = Directory(folder)
    if is_image_folder(tree.entries()):
        return Found("train/ and test/", partial(_read_tree, tree, folder))
    for name in _archives(tree):
        return Found(name, partial(_read_archive, folder / name))
    return None


def _archives(tree: Tree) -> Iterator[str]:
    for name in tree.entries():
        plain = name.lower().replace("-", "")
        if plain.startswith("cifar10") and plain.endswith(ARCHIVE_ENDINGS):
            yield name


def _read_archive(path: Path) -> Dataset:
    archive = open_archive(path, read_content(path))
    for tree in _possible_roots(archive):
        if is_image_folder(tree.entries()):
            return _read_tree(tree, path)
    raise DataError(f"{path}: holds no CIFAR-10; it needs train/ and test/ with a folder for each class")


def _possible_roots(archive: Archive) -> Iterator[Tree]:
    yield archive
    for name in archive.entries():
        yield archive.below(name)


def _read_tree(tree: Tree, origin: Path) -> Dataset:
    folder = read_image_folder(tree, CLASSES, SIZE)
    return Dataset(
        name="cifar10",
        origin=str(origin),
        description=f"CIFAR-10 as a {folder.formats} image folder, not the official bytes",
        official=False,
        train_images=folder.images["train"],
        train_labels=folder.labels["train"],
        test_images=folder.images["test"],
        test_labels=folder.labels["test"],
        classes=CLASSES,
    )
