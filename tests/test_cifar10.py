"""CIFAR-10 in all its forms, and what is said of each that is damaged."""

import errno
import gzip
import hashlib
import io
import os
import pickle
import re
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench import data
from bench.data import cache, cifar10
from bench.data.batches import BINARY, PYTHON, Form
from bench.data.dataset import Dataset, UInt8Array
from bench.data.errors import DataError
from bench.data.fetch import Limits
from bench.data.idx import encode_idx
from tests.conftest import CIFAR10_CLASSES, Mirror, write_files, write_image_folder

ARCHIVES = {PYTHON.title: "cifar-10-python.tar.gz", BINARY.title: "cifar-10-binary.tar.gz"}
FOLDER_OF = {PYTHON.title: "cifar-10-batches-py", BINARY.title: "cifar-10-batches-bin"}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty user cache, and nothing named."""
    monkeypatch.delenv("SPARBOR_DATA", raising=False)
    monkeypatch.setattr(cache, "cache_dir", lambda: tmp_path / "user-cache")
    return tmp_path / "user-cache"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An image folder that a test may damage."""
    return write_image_folder(tmp_path / "images", {"train": 3, "test": 2})


def tar(path: Path, members: dict[str, bytes]) -> Path:
    """A tar.gz archive of these files, always of the same bytes."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name, member in members.items():
            about = tarfile.TarInfo(name)
            about.size = len(member)
            archive.addfile(about, io.BytesIO(member))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content.getvalue(), mtime=0))
    return path


def tar_of(path: Path, folder: Path, prefix: str = "") -> Path:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return tar(path, {f"{prefix}{file.relative_to(folder).as_posix()}": file.read_bytes() for file in files})


def same(one: Dataset, other: Dataset) -> bool:
    return all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("train_images", "train_labels", "test_images", "test_labels")
    )


def fails(place: Path, text: str) -> None:
    """Loading from `place` ends in exactly this one line."""
    with pytest.raises(DataError) as caught:
        data.load("cifar10", place)
    assert str(caught.value) == text


# Image folders
# -------------


def test_an_image_folder_is_ordered_by_rank_and_then_by_class(folder: Path) -> None:
    dataset = data.load("cifar10", folder)
    assert dataset.train_images.shape == (30, 3, 32, 32)
    assert dataset.train_images.dtype == np.uint8
    assert dataset.train_images.flags.writeable
    assert dataset.train_labels.tolist() == 3 * list(range(10))
    assert dataset.test_labels.tolist() == 2 * list(range(10))
    assert dataset.classes == 10
    for index, rank, name in ((0, 0, "airplane"), (13, 1, "cat"), (29, 2, "truck")):
        with Image.open(folder / "train" / name / f"{rank:04}.png") as image:
            assert np.array_equal(dataset.train_images[index], np.asarray(image).transpose(2, 0, 1))


def test_an_image_folder_is_never_called_official(folder: Path, tmp_path: Path) -> None:
    assert data.load("cifar10", folder).source == f"{folder} (PNG image folder, not the official CIFAR-10)"
    assert not data.load("cifar10", folder).official
    compressed = write_image_folder(tmp_path / "compressed", {"train": 2, "test": 1}, ending=".jpg")
    assert data.load("cifar10", compressed).description == "JPEG-compressed image folder, not the official CIFAR-10"
    shutil.copy(folder / "train" / "cat" / "0000.png", compressed / "train" / "cat" / "extra.PNG")
    assert (
        data.load("cifar10", compressed).description
        == "JPEG-compressed and PNG image folder, not the official CIFAR-10"
    )


def test_classes_of_unequal_size_are_all_read(folder: Path) -> None:
    (folder / "train" / "cat" / "0002.png").unlink()
    assert data.load("cifar10", folder).train_labels.tolist() == [*range(10), *range(10), 0, 1, 2, 4, 5, 6, 7, 8, 9]


def test_what_systems_leave_behind_is_not_looked_at(folder: Path, tmp_path: Path) -> None:
    expected = data.load("cifar10", folder)
    (folder / "train" / ".DS_Store").write_text("")
    (folder / "train" / "cat" / "._0000.png").write_text("")
    (folder / ".cache").mkdir()
    (folder / "labels.txt").write_text("airplane")
    assert same(data.load("cifar10", folder), expected)
    assert same(data.load("cifar10", tar_of(tmp_path / "cifar10.tgz", folder)), expected)


@pytest.mark.parametrize("prefix", ["", "./", "cifar10/"])
@pytest.mark.parametrize("named", ["archive", "directory"])
def test_an_archive_of_an_image_folder(folder: Path, tmp_path: Path, prefix: str, named: str) -> None:
    archive = tar_of(tmp_path / "there" / "cifar10-png.tar.gz", folder, prefix)
    (tmp_path / "there" / "cifar-100-python.tar.gz").write_bytes(b"another data set")
    dataset = data.load("cifar10", archive if named == "archive" else archive.parent)
    assert same(dataset, data.load("cifar10", folder))
    assert dataset.origin == str(archive)


def test_the_variable_may_name_an_archive(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARBOR_DATA", str(tar_of(tmp_path / "some.tgz", folder)))
    assert data.load("cifar10").source.startswith(f"{tmp_path / 'some.tgz'} (PNG image folder")


# What is decoded is kept
# -----------------------


def decoded(own_cache: Path) -> list[Path]:
    return sorted((own_cache / "decoded").iterdir())


def test_images_are_decoded_once_for_a_content(
    folder: Path, tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = data.load("cifar10", folder)
    (kept,) = decoded(own_cache)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr(Image, "open", refuse)
    assert same(data.load("cifar10", folder), first)
    elsewhere = shutil.move(folder, tmp_path / "moved")
    assert same(data.load("cifar10", elsewhere), first)
    assert same(data.load("cifar10", tar_of(tmp_path / "one.tgz", elsewhere)), first)
    assert decoded(own_cache) == [kept]


def test_a_changed_image_is_decoded_though_its_size_and_time_are_the_same(folder: Path) -> None:
    path = folder / "test" / "dog" / "0001.png"
    before, times = data.load("cifar10", folder), path.stat()
    other = folder / "test" / "cat" / "0001.png"
    size = max(path.stat().st_size, other.stat().st_size)
    for file in (path, other):
        file.write_bytes(file.read_bytes().ljust(size, b"\0"))  # what follows an image is ignored
    padded = data.load("cifar10", folder)
    assert same(padded, before)
    path.write_bytes(other.read_bytes())
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    after = data.load("cifar10", folder)
    assert np.array_equal(after.test_images[15], before.test_images[13])
    assert not np.array_equal(after.test_images[15], before.test_images[15])


def test_images_that_change_places_are_not_taken_for_what_they_were(folder: Path) -> None:
    before = data.load("cifar10", folder)
    (folder / "train" / "cat").rename(folder / "train" / "swap")
    (folder / "train" / "dog").rename(folder / "train" / "cat")
    (folder / "train" / "swap").rename(folder / "train" / "dog")
    after = data.load("cifar10", folder)
    assert np.array_equal(after.train_images[[3, 5]], before.train_images[[5, 3]])


@pytest.mark.parametrize("damage", ["truncated", "one bit", "empty", "another file"])
def test_a_damaged_cache_is_replaced_with_a_warning(
    folder: Path, own_cache: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    first = data.load("cifar10", folder)
    (kept,) = decoded(own_cache)
    sound = kept.read_bytes()
    flipped = bytearray(sound)
    flipped[len(sound) // 2] ^= 1
    damaged = {"truncated": sound[:-9000], "one bit": bytes(flipped), "empty": b"", "another file": b"PK\x03\x04"}
    kept.write_bytes(damaged[damage])
    assert same(data.load("cifar10", folder), first)
    (warning,) = (record.getMessage() for record in caplog.records if record.levelname == "WARNING")
    assert re.fullmatch(rf"cached file {kept} is damaged \(.*\); decoding the images again", warning, re.DOTALL)
    assert kept.read_bytes() == sound


def test_a_cache_that_cannot_be_written_costs_only_time(
    folder: Path, own_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own_cache.write_text("a file where the cache should be")
    assert len(data.load("cifar10", folder).train_images) == 30
    assert "the decoded images could not be kept for the next time: " in caplog.text


# Damaged image folders
# ---------------------


def image_bytes(mode: str, size: tuple[int, int] = (32, 32), kind: str = "PNG") -> bytes:
    content = io.BytesIO()
    Image.new(mode, size).save(content, kind)
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (image_bytes("L"), "a grayscale image, not RGB"),
        (image_bytes("LA"), "a grayscale image with transparency, not RGB"),
        (image_bytes("RGBA"), "an RGB image with transparency, not RGB"),
        (image_bytes("P"), "a palette image, not RGB"),
        (image_bytes("1"), "a black and white image, not RGB"),
        (image_bytes("CMYK", kind="JPEG"), "a CMYK image, not RGB"),
        (image_bytes("RGB", (33, 32)), "an image of 33 x 32 pixels, not 32 x 32"),
        (image_bytes("RGB", (32, 31), "JPEG"), "an image of 32 x 31 pixels, not 32 x 32"),
        (image_bytes("RGB", kind="GIF"), "no PNG or JPEG image: starts with b'GIF8'"),
        (b"<html>not found</html>", "no PNG or JPEG image: starts with b'<htm'"),
        (b"", "no PNG or JPEG image: starts with b''"),
        (image_bytes("RGB", kind="JPEG")[:300], "no PNG or JPEG image: starts with b'\\xff\\xd8\\xff\\xe0'"),
        (
            image_bytes("RGB", kind="JPEG")[:-20],
            "a damaged JPEG image (image file is truncated (0 bytes not processed))",
        ),
        (image_bytes("RGB")[:60], "a damaged PNG image (image file is truncated)"),
    ],
)
def test_an_image_that_does_not_fit_is_named(folder: Path, tmp_path: Path, content: bytes, fault: str) -> None:
    path = folder / "train" / "frog" / "0001.png"
    path.write_bytes(content)
    fails(folder, f"{path}: {fault}; replace it")
    archive = tar_of(tmp_path / "cifar10.tar.gz", folder, "cifar10/")
    fails(archive, f"{archive}: cifar10/train/frog/0001.png: {fault}; replace it")


def test_a_file_that_is_no_image(folder: Path) -> None:
    (folder / "train" / "frog" / "notes.txt").write_text("green")
    fails(folder, f"{folder}/train/frog/notes.txt: is no .png or .jpg image; move it out of the class's folder")


def test_a_file_beside_the_class_folders(folder: Path) -> None:
    (folder / "test" / "0001.png").write_bytes(image_bytes("RGB"))
    fails(folder, f"{folder}/test/0001.png: lies in no class's folder; move it to one, or away")


@pytest.mark.parametrize("empty", [True, False])
def test_a_class_that_is_in_one_split_only(folder: Path, empty: bool) -> None:
    """An empty folder is as good as none."""
    shutil.rmtree(folder / "test" / "deer")
    if empty:
        (folder / "test" / "deer").mkdir()
    fails(
        folder,
        f"{folder}/test: holds no images of the class deer, which train holds; give both splits the same classes",
    )


def test_a_class_too_few(folder: Path) -> None:
    for split in ("train", "test"):
        shutil.rmtree(folder / split / "deer")
    names = ", ".join(name for name in CIFAR10_CLASSES if name != "deer")
    fails(
        folder,
        f"{folder}/train: holds images of 9 classes ({names}), not of 10; give each class a folder with its images",
    )


def test_no_class_at_all(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "test").mkdir()
    fails(
        tmp_path,
        f"{tmp_path}/train: holds images of 0 classes (none), not of 10; give each class a folder with its images",
    )


# Official batches
# ----------------


def tiny_batches(form: Form, images: int = 3) -> dict[str, bytes]:
    """Files of the official form with a few images each, the first batch's labels 0, 1, 2."""
    pixels = np.random.default_rng(0)
    files = {}
    for number, name in enumerate(form.md5):
        shown = pixels.integers(0, 256, (images, 3072), dtype=np.uint8)
        labels = [(number + index) % 10 for index in range(images)]
        files[name] = pickled(shown, labels) if form is PYTHON else plain(shown, labels)
    return files


def plain(images: UInt8Array, labels: list[int]) -> bytes:
    return np.concatenate([np.array(labels, np.uint8)[:, None], images], axis=1).tobytes()


def pickled(images: UInt8Array, labels: list[int]) -> bytes:
    """Opcode by opcode what Python 2 and the NumPy of the time wrote, as the official files have it."""

    def text(value: str) -> bytes:
        return b"U" + bytes([len(value)]) + value.encode()

    def number(value: int) -> bytes:
        return b"J" + value.to_bytes(4, "little", signed=True)

    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01"
    array += number(images.shape[0]) + number(images.shape[1]) + b"\x86"
    array += b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNN" + 2 * number(-1) + b"K\x00tb\x89"
    array += b"T" + images.nbytes.to_bytes(4, "little") + images.tobytes() + b"tb"
    members = text("batch_label") + text("one of six")
    members += text("labels") + b"](" + b"".join(map(number, labels)) + b"e"
    members += text("data") + array + text("filenames") + b"]"
    return b"\x80\x02}(" + members + b"u."


forms = pytest.mark.parametrize("form", [PYTHON, BINARY], ids=lambda form: form.title)


@forms
@pytest.mark.parametrize("place", ["the folder", "the folder's folder", "an archive", "an archive's folder"])
def test_batches_are_read_wherever_they_lie(form: Form, place: str, tmp_path: Path) -> None:
    files = {**tiny_batches(form), "batches.meta": b"", "readme.html": b"<html>"}
    inner, outer = FOLDER_OF[form.title], tmp_path / "data"
    if place.startswith("the folder"):
        origin = write_files(outer / inner, files)
        dataset = data.load("cifar10", origin if place == "the folder" else outer)
    else:
        origin = tar(outer / ARCHIVES[form.title], {f"{inner}/{name}": content for name, content in files.items()})
        dataset = data.load("cifar10", origin if place == "an archive" else outer)
    assert dataset.source == f"{origin} ({form.title}, not the official CIFAR-10)"
    assert dataset.train_labels.tolist() == [0, 1, 2, 1, 2, 3, 2, 3, 4, 3, 4, 5, 4, 5, 6]
    assert dataset.test_labels.tolist() == [5, 6, 7]
    assert dataset.train_labels.dtype == np.int64
    assert dataset.train_images.flags.writeable
    expected = np.random.default_rng(0).integers(0, 256, (6 * 3, 3, 32, 32), dtype=np.uint8)
    assert np.array_equal(np.concatenate([dataset.train_images, dataset.test_images]), expected)


@forms
def test_batches_with_the_official_md5_are_official(
    form: Form, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The official files are not at hand; these stand for them."""
    files = tiny_batches(form)
    write_files(tmp_path / "data", files)
    for name, content in files.items():
        assert not data.load("cifar10", tmp_path / "data").official
        monkeypatch.setitem(form.md5, name, hashlib.md5(content).hexdigest())  # type: ignore[arg-type]
    assert data.load("cifar10", tmp_path / "data").source == f"{tmp_path / 'data'} (official CIFAR-10)"
    write_files(tmp_path / "data", {"test_batch" + ".bin" * (form is BINARY): files[next(iter(files))]})
    assert not data.load("cifar10", tmp_path / "data").official


def test_the_official_batches_go_before_other_forms(folder: Path) -> None:
    write_files(folder / "cifar-10-batches-bin", tiny_batches(BINARY))
    tar(folder / "cifar10.tgz", {})
    assert data.load("cifar10", folder).description.startswith("PNG image folder")
    shutil.rmtree(folder / "train")
    assert data.load("cifar10", folder).description.startswith("binary batches")
    shutil.rmtree(folder / "cifar-10-batches-bin")
    tar(folder / "cifar-10-python.tar.gz", tiny_batches(PYTHON))
    assert data.load("cifar10", folder).description.startswith("python batches")


@forms
def test_a_missing_batch_is_named(form: Form, tmp_path: Path) -> None:
    files = tiny_batches(form)
    missing = list(files)[4]
    del files[missing]
    fails(
        write_files(tmp_path / "data", files),
        f"{tmp_path}/data/{missing}: is missing (5 of 6 {form.title} are there); complete them",
    )


def batch_of(**changes: object) -> bytes:
    batch = {b"data": b"", b"labels": [], **{name.encode(): value for name, value in changes.items()}}
    return pickle.dumps(batch, protocol=3)


@pytest.mark.parametrize(
    ("form", "content", "fault"),
    [
        (PYTHON, b"", "truncated: its 0 bytes end within the pickle"),
        (
            PYTHON,
            pickled(np.zeros((2, 3072), np.uint8), [0, 1])[:-9],
            "truncated: its 6332 bytes end within the pickle",
        ),
        (
            PYTHON,
            pickle.dumps([1, 2]),
            "no pickled batch of images (list indices must be integers or slices, not bytes)",
        ),
        (PYTHON, pickle.dumps({b"data": []}), "no pickled batch of images (b'labels')"),
        (
            PYTHON,
            pickle.dumps(Fraction(1)),
            "no pickled batch of images (fractions.Fraction has no place in a pickle of arrays)",
        ),
        (PYTHON, batch_of(), "its data is |S1 of shape (), not uint8 of (images, 3072)"),
        (
            PYTHON,
            pickled(np.zeros((2, 3071), np.uint8), [0, 1]),
            "its data is uint8 of shape (2, 3071), not uint8 of (images, 3072)",
        ),
        (
            PYTHON,
            pickled(np.zeros((2, 3072), np.uint8), [0]),
            "its labels are int64 of shape (1,), not 2 whole numbers",
        ),
        (PYTHON, pickled(np.zeros((2, 3072), np.uint8), [0, 10]), "its labels go from 0 to 10, not from 0 to 9"),
        (PYTHON, pickled(np.zeros((2, 3072), np.uint8), [-1, 9]), "its labels go from -1 to 9, not from 0 to 9"),
        (
            PYTHON,
            pickled(np.zeros((0, 3072), np.uint8), []),
            "its data is uint8 of shape (0, 3072), not uint8 of (images, 3072)",
        ),
        (
            PYTHON,
            pickled(np.zeros((2, 3072), np.uint8), [0, 1]).replace(b"U\x02u1", b"U\x02O8"),
            "no pickled batch of images (object is no type of plain numbers)",
        ),
        (
            PYTHON,
            pickled(np.zeros((2, 3072), np.uint8), [0, 1]).replace(b"K\x01J\x02", b"K\x01J\x09"),
            "no pickled batch of images (an array of shape (9, 3072) and uint8 in 6144 bytes)",
        ),
        (BINARY, b"", "empty: it holds no images"),
        (BINARY, bytes(3 * 3073 - 1), "truncated: its 9218 bytes are no multiple of 3073, a label and an image"),
        (BINARY, b"\xff" * 3073, "its labels go from 255 to 255, not from 0 to 9"),
    ],
)
def test_a_damaged_batch_is_named(form: Form, content: bytes, fault: str, tmp_path: Path) -> None:
    name = list(form.md5)[2]
    folder = write_files(tmp_path / "data", {**tiny_batches(form), name: content})
    fails(folder, f"{folder}/{name}: {fault}; replace it with an intact copy")


def test_a_batch_never_runs_code(tmp_path: Path) -> None:
    trace = tmp_path / "it-ran"

    class Attack:
        def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
            return os.system, (f"echo > {trace}",)

    folder = write_files(tmp_path / "data", {**tiny_batches(PYTHON), "test_batch": pickle.dumps({b"data": Attack()})})
    fault = "no pickled batch of images (posix.system has no place in a pickle of arrays)"
    fails(folder, f"{folder}/test_batch: {fault}; replace it with an intact copy")
    assert not trace.exists()


# Damaged archives, and places without any
# ----------------------------------------


def test_an_archive_that_was_cut_before_it_was_compressed(folder: Path, tmp_path: Path) -> None:
    archive = tar_of(tmp_path / "cifar10.tar.gz", folder)
    whole = gzip.decompress(archive.read_bytes())
    with tarfile.open(fileobj=io.BytesIO(whole)) as members:
        last = members.getmembers()[-1].offset
    for cut in (last, last + 100):  # between two files, and within a header
        archive.write_bytes(gzip.compress(whole[:cut]))
        fails(archive, f"{archive}: truncated: no end mark after 49 files; replace it with an intact copy")


def test_links_that_lead_in_a_circle(folder: Path) -> None:
    circle = folder / "train" / "cat" / "circle"
    circle.symlink_to(circle)
    fault = f"cannot be read ({os.strerror(errno.ELOOP)}); make it readable or replace it"
    fails(folder, f"{circle}: {fault}")


def test_a_half_downloaded_archive(folder: Path, tmp_path: Path) -> None:
    archive = tar_of(tmp_path / "cifar10-jpeg.tar.gz", folder)
    half = archive.stat().st_size // 2
    archive.write_bytes(archive.read_bytes()[:half])
    text = f"{archive}: truncated: its {half} bytes end within the gzip data; replace it with an intact copy"
    fails(archive, text)
    shutil.rmtree(folder)
    fails(tmp_path, text)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "no intact tar archive (empty file)"),
        (b"<html>not found</html>" * 100, "no intact tar archive (invalid header)"),
        (gzip.compress(b"a" * 2000, mtime=0), "no intact tar archive (invalid header)"),
        (gzip.compress(bytes(2000), mtime=0)[:-8] + bytes(8), "corrupt gzip data (CRC check failed)"),
    ],
)
def test_a_file_that_is_no_archive(tmp_path: Path, content: bytes, fault: str) -> None:
    archive = tmp_path / "cifar10.tar.gz"
    archive.write_bytes(content)
    fails(archive, f"{archive}: {fault}; replace it with an intact copy")


def test_an_archive_of_something_else(tmp_path: Path) -> None:
    archive = tar(tmp_path / "cifar10.tar.gz", {"README": b"soon", "a/b/c": b""})
    fails(
        archive,
        f"{archive}: holds no CIFAR-10: neither batches nor train/ and test/ with a folder for each class",
    )


@pytest.mark.parametrize("name", ["../escaped", "/escaped", "train/../../escaped"])
def test_an_archive_that_leads_out_of_itself(tmp_path: Path, name: str) -> None:
    archive = tar(tmp_path / "inner" / "cifar10.tar.gz", {name: b"evil"})
    fails(
        archive,
        f"{archive}: its member {name!r} leads out of the archive; replace it with an intact copy",
    )
    assert not list(tmp_path.rglob("escaped"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_an_archive_with_links_or_devices(tmp_path: Path, kind: bytes) -> None:
    archive = tmp_path / "cifar10.tar.gz"
    with tarfile.open(archive, "w:gz") as writer:
        about = tarfile.TarInfo("train/cat/0001.png")
        about.type, about.linkname = kind, "/etc/passwd"
        writer.addfile(about)
    fails(
        archive,
        f"{archive}: its member 'train/cat/0001.png' is neither a file nor a directory; replace it with an intact copy",
    )


REMEDY = (
    "put its batches, its archive or an image folder (cifar-10-batches-py, cifar-10-python.tar.gz, or"
    " train/<class>/*.png|jpg and test/<class>/*) there, or leave data_dir (--data-dir) out to have the data downloaded"
)
LOOKED_FOR = "(looked for in ., cifar-10-batches-py, cifar-10-batches-bin, cifar10, CIFAR10)"


def test_places_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere, file = tmp_path / "nowhere", tmp_path / "some.zip"
    file.write_bytes(b"PK")
    fails(nowhere, f"data_dir (--data-dir) {nowhere} cannot be read (No such file or directory); {REMEDY}")
    fails(file, f"data_dir (--data-dir) {file} is neither a directory nor a .tar.gz or .tgz archive; {REMEDY}")
    fails(tmp_path, f"data_dir (--data-dir) {tmp_path} does not hold CIFAR-10 {LOOKED_FOR}; {REMEDY}")
    missing = tmp_path / "cifar10-jpeg.tar.gz"
    fails(missing, f"data_dir (--data-dir) {missing} cannot be read (No such file or directory); {REMEDY}")
    monkeypatch.setenv("SPARBOR_DATA", str(nowhere))
    with pytest.raises(DataError, match=r"^SPARBOR_DATA .*nowhere cannot be read .*; put .* leave SPARBOR_DATA out"):
        data.load("cifar10")


def test_each_data_set_is_told_from_the_other(folder: Path, tmp_path: Path) -> None:
    digits = tmp_path / "digits"
    shapes = {"train-images-idx3-ubyte": (2, 28, 28), "train-labels-idx1-ubyte": (2,)}
    shapes |= {name.replace("train", "t10k"): shape for name, shape in shapes.items()}
    write_files(digits, {name: encode_idx(np.zeros(shape, np.uint8)) for name, shape in shapes.items()})
    hint = "it looks like MNIST (train-images-idx3-ubyte): pass --dataset mnist"
    fails(digits, f"data_dir (--data-dir) {digits} does not hold CIFAR-10 {LOOKED_FOR}; {hint}, or {REMEDY}")

    archive = tar_of(tmp_path / "cifar10-jpeg.tar.gz", folder)
    batches_folder = write_files(tmp_path / "cifar-10-batches-py", tiny_batches(PYTHON))
    for place, what in ((folder, "train/ and test/"), (archive, archive.name), (batches_folder, "python batches")):
        with pytest.raises(DataError) as caught:
            data.load("mnist", place)
        assert f"; it looks like CIFAR-10 ({what}): pass --dataset cifar10, or put the four IDX" in str(caught.value)


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without the powers of root, who may read all."""
    if os.name != "posix":
        pytest.skip("needs POSIX permissions")
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.mark.parametrize("closed", ["train/cat/0000.png", "train/cat", "train", "."])
def test_what_may_not_be_read_is_named(closed: str) -> None:
    with tempfile.TemporaryDirectory() as directory:  # pytest's own are closed to others
        root = Path(directory)
        root.chmod(0o755)
        folder = write_image_folder(root / "images", {"train": 1, "test": 1})
        (folder / closed).chmod(0)
        with as_nobody():
            fails(folder, f"{folder / closed}: cannot be read (Permission denied); make it readable or replace it")
        (folder / closed).chmod(0o755)


# The cache and the mirrors
# -------------------------

QUICK = Limits(answer=0.5, stall=0.5, total=10.0)


@pytest.fixture
def archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Small archives in the place of the official ones, which are not at hand."""
    contents = {}
    for form in (PYTHON, BINARY):
        files = tiny_batches(form)
        for name, content in files.items():
            monkeypatch.setitem(form.md5, name, hashlib.md5(content).hexdigest())  # type: ignore[arg-type]
        inner, name = FOLDER_OF[form.title], ARCHIVES[form.title]
        path = tar(tmp_path / "served" / name, {f"{inner}/{file}": content for file, content in files.items()})
        contents[name] = path.read_bytes()
        monkeypatch.setitem(cifar10.ARCHIVE_MD5, name, hashlib.md5(contents[name]).hexdigest())
    monkeypatch.setattr(cifar10, "DOWNLOAD_LIMITS", QUICK)
    return contents


def use_mirrors(monkeypatch: pytest.MonkeyPatch, *urls: str) -> None:
    monkeypatch.setattr(cifar10, "MIRRORS", urls)


def test_the_mirrors_serve_official_archives_over_a_verified_connection() -> None:
    assert all(url.startswith("https://") and url.rpartition("/")[2] in cifar10.ARCHIVE_MD5 for url in cifar10.MIRRORS)


@pytest.mark.parametrize("name", ARCHIVES.values())
def test_the_first_mirror_that_works_fills_the_cache(
    name: str,
    archives: dict[str, bytes],
    new_mirror: Callable[[], Mirror],
    refused_url: str,
    own_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    absent, lying, sound, spare = (new_mirror() for _ in range(4))
    lying.files = {name: b"<html>moved</html>"}
    sound.files = spare.files = archives
    use_mirrors(monkeypatch, *(mirror + name for mirror in (refused_url, absent.url, lying.url, sound.url, spare.url)))
    dataset = data.load("cifar10")
    assert dataset.source == f"{sound.url}{name} (official CIFAR-10)"
    assert dataset.official
    assert [len(mirror.requests) for mirror in (absent, lying, sound, spare)] == [1, 1, 1, 0]

    again = data.load("cifar10")
    assert same(again, dataset)
    assert again.source == dataset.source, "where it came from, not where it is kept"
    assert len(sound.requests) == 1, "the second time needs no network"


def test_the_next_mirror_goes_on_where_one_broke_off(
    archives: dict[str, bytes], new_mirror: Callable[[], Mirror], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, sound = new_mirror(), new_mirror()
    broken.files = sound.files = archives
    broken.break_after = 10_000
    name = "cifar-10-python.tar.gz"
    use_mirrors(monkeypatch, broken.url + name, sound.url + name)
    assert data.load("cifar10").official
    assert sound.requests == [(f"/{name}", "bytes=10000-")]


def test_a_cached_archive_that_is_wrong_is_replaced_with_a_warning(
    archives: dict[str, bytes],
    mirror: Mirror,
    own_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    name = "cifar-10-python.tar.gz"
    mirror.files = archives
    use_mirrors(monkeypatch, mirror.url + name)
    write_files(own_cache / "cifar10", {name: archives[name][:-1]})
    assert data.load("cifar10").official
    (warning,) = (record.getMessage() for record in caplog.records if record.levelname == "WARNING")
    assert f"{own_cache / 'cifar10' / name} is not to be trusted (MD5 " in warning
    assert (own_cache / "cifar10" / name).read_bytes() == archives[name]


@pytest.mark.usefixtures("archives")
def test_when_all_mirrors_fail_one_line_tells_each_and_the_remedy(
    new_mirror: Callable[[], Mirror], refused_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = new_mirror()
    use_mirrors(monkeypatch, f"{refused_url}cifar-10-python.tar.gz", f"{absent.url}cifar-10-binary.tar.gz")
    with pytest.raises(DataError) as caught:
        data.load("cifar10")
    assert re.fullmatch(
        rf"CIFAR-10 is not in the cache and no source could provide it: {refused_url}cifar-10-python.tar.gz: .*refused"
        rf".*; {absent.url}cifar-10-binary.tar.gz: HTTP 404 .*; name a directory that holds its batches, .*"
        r" \(--data-dir or SPARBOR_DATA\)",
        str(caught.value),
    )
