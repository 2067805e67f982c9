"""The official files of CIFAR-10: five batches to train with and one to test with, pickled or plain.

A batch is 10,000 images of 3 x 32 x 32 bytes (red, green and blue planes) with a label each: pickled, a dictionary with
an array `data` (images, 3072) and a list `labels`; plain, 3073 bytes an image, the first of which is its label.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.data.array_pickle import load_arrays
from bench.data.content import md5_of
from bench.data.dataset import UInt8Array
from bench.data.errors import DataError
from bench.data.tree import Tree

CLASSES = 10
IMAGE = (3, 32, 32)
IMAGE_BYTES = 3 * 32 * 32

Batch = tuple[UInt8Array, NDArray[np.int64]]
"""Images (count, 3, 32, 32) and labels (count,)."""


@dataclass(frozen=True)
class Form:
    """One of the two forms; ``md5`` holds the official files, those to train with first and in order."""

    title: str
    md5: Mapping[str, str]
    decode: Callable[[bytes], Batch]


@dataclass(frozen=True, eq=False)
class Batches:
    """Both splits, in the official order; ``official`` if every file has the official MD5."""

    train: Batch
    test: Batch
    official: bool


def find_form(entries: Collection[str]) -> Form | None:
    """The form in which a folder with these entries holds batches, all or some of them."""
    return next((form for form in (PYTHON, BINARY) if not set(form.md5).isdisjoint(entries)), None)


def read_batches(tree: Tree, form: Form) -> Batches:
    """All six files of ``tree``.

    Raises:
        DataError: one is missing or damaged.
    """
    entries = tree.entries()
    missing = [name for name in form.md5 if name not in entries]
    if missing:
        there = f"{len(form.md5) - len(missing)} of {len(form.md5)} {form.title} are there"
        raise DataError(f"{tree.locate(missing[0])}: is missing ({there}); complete them")
    official = True
    batches = []
    for name, md5 in form.md5.items():
        content = tree.read(name)
        official &= md5_of(content) == md5
        try:
            batches.append(form.decode(content))
        except DataError as error:
            raise DataError(f"{tree.locate(name)}: {error}; replace it with an intact copy") from error
    *train, test = batches
    images, labels = zip(*train, strict=True)
    return Batches((np.concatenate(images), np.concatenate(labels)), test, official)


def decode_pickled(content: bytes) -> Batch:
    """The batch in a pickle of which nothing but arrays, lists and bytes is loaded."""
    try:
        batch = load_arrays(content, encoding="bytes")
        images, labels = np.asarray(batch[b"data"]), np.asarray(batch[b"labels"])
    except EOFError as error:
        raise DataError(f"truncated: its {len(content)} bytes end within the pickle") from error
    except Exception as error:  # a damaged pickle raises what it likes
        raise DataError(
            f"no pickled batch of images ({' '.join(str(error).split()) or type(error).__name__})"
        ) from error
    if images.dtype != np.uint8 or images.ndim != 2 or images.shape[1] != IMAGE_BYTES or not len(images):
        raise DataError(f"its data is {images.dtype} of shape {images.shape}, not uint8 of (images, {IMAGE_BYTES})")
    if labels.shape != (len(images),) or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"its labels are {labels.dtype} of shape {labels.shape}, not {len(images)} whole numbers")
    return _checked(images, labels)


def decode_plain(content: bytes) -> Batch:
    """The batch in plain bytes."""
    record = 1 + IMAGE_BYTES
    if not content:
        raise DataError("empty: it holds no images")
    if len(content) % record:
        raise DataError(f"truncated: its {len(content)} bytes are no multiple of {record}, a label and an image")
    records = np.frombuffer(content, np.uint8).reshape(-1, record)
    return _checked(records[:, 1:], records[:, 0])


def _checked(images: UInt8Array, labels: NDArray[np.integer]) -> Batch:
    if labels.min() < 0 or labels.max() >= CLASSES:
        raise DataError(f"its labels go from {labels.min()} to {labels.max()}, not from 0 to {CLASSES - 1}")
    return images.reshape(-1, *IMAGE).copy(), labels.astype(np.int64)  # writable, as torch.from_numpy wants it


PYTHON = Form(
    "python batches",
    {
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "test_batch": "40351d587109b95175f43aff81a1287e",
    },
    decode_pickled,
)
BINARY = Form(
    "binary batches",
    {
        "data_batch_1.bin": "5dd7e06a14cb22eb9f671a540d1b7c25",
        "data_batch_2.bin": "5ea93a67294ea407fff1d09f752e9692",
        "data_batch_3.bin": "942cd6a4bcdd0dd3c604fbe906cb4421",
        "data_batch_4.bin": "ae636b3ba5c66a11e91e8cb52e771fcb",
        "data_batch_5.bin": "53f37980c15c3d472c316c40844f3f0d",
        "test_batch.bin": "803d5f7f4d78ea53de84dbe85f74fb6d",
    },
    decode_plain,
)
