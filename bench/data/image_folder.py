"""Images in folders, one for each class: `train/<class>/*.png|jpg` and `test/<class>/...`.

There is no official order in a folder. Images are ordered by their rank within their class (by file name), then by
class, so that any stretch of them holds all classes alike: the last tenth, too, which is validated on.
"""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image

from bench.data.cache import remember
from bench.data.dataset import UInt8Array
from bench.data.errors import DataError
from bench.data.tree import Tree

SPLITS = ("train", "test")
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
MODES = {
    "1": "a black and white image",
    "L": "a grayscale image",
    "LA": "a grayscale image with transparency",
    "P": "a palette image",
    "RGBA": "an RGB image with transparency",
}


@dataclass(frozen=True)
class LabelledFile:
    """An image file of a tree and the index of its class."""

    path: str
    label: int


@dataclass(frozen=True, eq=False)
class FolderImages:
    """What a folder holds: images (count, 3, height, width) and labels (count,) of both splits, and their format."""

    images: dict[str, UInt8Array]
    labels: dict[str, NDArray[np.int64]]
    formats: str
    """`JPEG`, `PNG` or `JPEG and PNG`."""


def is_image_folder(entries: Sequence[str]) -> bool:
    """Whether a folder with these entries is meant to be one of images by split and class."""
    return {f"{split}/" for split in SPLITS} <= set(entries)


def read_image_folder(tree: Tree, classes: int, size: tuple[int, int]) -> FolderImages:
    """All images of `tree`, each RGB and of `size` (width, height), in `classes` classes.

    Decoding is done once for a content: its result is kept in the user cache.

    Raises:
        DataError: the folders are not those of `classes` classes, the same in both splits, or a file is no such image.
    """
    paths = {split: _paths_by_class(tree.below(split)) for split in SPLITS}
    _check_classes(tree, paths, classes)
    files = {split: _in_order(paths[split]) for split in SPLITS}
    contents = {split: [tree.below(split).read(file.path) for file in files[split]] for split in SPLITS}

    def decode() -> dict[str, UInt8Array]:
        return {split: _decode(tree.below(split), files[split], contents[split], size) for split in SPLITS}

    found = {FORMATS[_extension(file.path)] for split in SPLITS for file in files[split]}
    return FolderImages(
        images=dict(remember(_digest(files, contents, size), decode)),
        labels={split: np.array([file.label for file in files[split]], np.int64) for split in SPLITS},
        formats=" and ".join(sorted(found)),
    )


def _paths_by_class(split: Tree) -> dict[str, list[str]]:
    """The image files in each class's folder, sorted by their names."""
    paths: dict[str, list[str]] = {}
    for path in split.files():
        name, slash, _ = path.partition("/")
        if not slash:
            raise DataError(f"{split.locate(path)}: lies in no class's folder; move it to one, or away")
        if _extension(path) not in FORMATS:
            raise DataError(f"{split.locate(path)}: is no .png or .jpg image; move it out of the class's folder")
        paths.setdefault(name, []).append(path)
    return paths


def _check_classes(tree: Tree, paths: dict[str, dict[str, list[str]]], classes: int) -> None:
    for split, other in (("train", "test"), ("test", "train")):
        if lacking := sorted(set(paths[other]) - set(paths[split])):
            raise DataError(
                f"{tree.locate(split)}: holds no images of the class {', '.join(lacking)}, which {other} holds; "
                "give both splits the same classes"
            )
    if len(paths["train"]) != classes:
        names = ", ".join(sorted(paths["train"])) or "none"
        raise DataError(
            f"{tree.locate('train')}: holds images of {len(paths['train'])} classes ({names}), not of {classes}; "
            "give each class a folder with its images"
        )


def _in_order(paths: dict[str, list[str]]) -> list[LabelledFile]:
    """By rank within the class, then by class: a label is the place of the class's name among the sorted names."""
    ranked = [(rank, label, path) for label, name in enumerate(sorted(paths)) for rank, path in enumerate(paths[name])]
    return [LabelledFile(path, label) for _, label, path in sorted(ranked)]


def _extension(path: str) -> str:
    dot = path.rfind(".")
    return path[dot:].lower() if dot >= 0 else ""


def _digest(files: dict[str, list[LabelledFile]], contents: dict[str, list[bytes]], size: tuple[int, int]) -> str:
    """A key for the decoded images: the files' contents in order, what is made of them, and by which decoder."""
    digest = hashlib.sha256(f"{size} {PIL.__version__}".encode())
    for split in SPLITS:
        digest.update(f"{split} {len(files[split])} ".encode())
        for content in contents[split]:
            digest.update(len(content).to_bytes(8, "big"))
            digest.update(content)
    return digest.hexdigest()


def _decode(split: Tree, files: list[LabelledFile], contents: list[bytes], size: tuple[int, int]) -> UInt8Array:
    images = np.empty((len(files), 3, size[1], size[0]), np.uint8)
    for index, (file, content) in enumerate(zip(files, contents, strict=True)):
        try:
            images[index] = _decode_image(content, size).transpose(2, 0, 1)
        except DataError as error:
            raise DataError(f"{split.locate(file.path)}: {error}; replace it") from error
    return images


def _decode_image(content: bytes, size: tuple[int, int]) -> UInt8Array:
    """The pixels (height, width, 3) of a PNG or JPEG file."""
    try:
        image = Image.open(io.BytesIO(content), formats=sorted(set(FORMATS.values())))
    except Exception as error:  # Pillow's readers raise what they like for damaged bytes
        raise DataError(f"no PNG or JPEG image: starts with {content[:4]!r}") from error
    with image:
        if image.mode != "RGB":
            raise DataError(f"{MODES.get(image.mode, f'a {image.mode} image')}, not RGB")
        if image.size != size:
            raise DataError(f"an image of {image.width} x {image.height} pixels, not {size[0]} x {size[1]}")
        try:
            return np.asarray(image)
        except Exception as error:
            raise DataError(f"a damaged {image.format} image ({error})") from error
