"""What several test modules share: the real MNIST, and HTTP servers that misbehave on demand."""

import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench import data
from bench.data import cache
from bench.data.idx import encode_idx
from sparbor.synapses import dispatch

REPOSITORY = Path(__file__).resolve().parent.parent
BENCH = REPOSITORY / "bench"
TOOLS = REPOSITORY / "tools"
sys.path.insert(0, str(TOOLS))  # tests import its scripts by name


@pytest.fixture(scope="session")
def mnist_dir() -> Path:
    """A directory with the official MNIST in IDX files."""
    beside = REPOSITORY.parent / "shared" / "data" / "mnist"
    if beside.is_dir():
        return beside
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SPARBOR_DATA", raising=False)
        data.load("mnist")
    return cache.cache_dir() / "mnist"


@pytest.fixture
def only_dense_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """No layer is computed by its synapses alone, which sums in another order: for tests of equal bits."""
    monkeypatch.setattr(dispatch, "pays", lambda *_: False)


@dataclass
class Mirror:
    """An HTTP server on this machine, and how it is to misbehave. What it was asked stands in `requests`."""

    files: dict[str, bytes] = field(default_factory=dict)
    status: int = 200
    ranges: bool = True
    """Whether it serves ranges, or ignores that it was asked for one."""
    range_shift: int = 0
    """How far behind the wanted byte its ranges begin."""
    silent: bool = False
    """It takes the request and never answers."""
    break_after: int | None = None
    """It closes the connection after that many bytes of a body."""
    stall_after: int | None = None
    """It sends nothing more after that many bytes of a body, and keeps the connection."""
    pause: float = 0.0
    """Seconds between two pieces of 1000 bytes."""

    url: str = ""
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    """(path, Range header) of each request."""
    closing: threading.Event = field(default_factory=threading.Event)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        wanted = handler.headers.get("Range")
        self.requests.append((handler.path, wanted))
        if self.silent:
            self.closing.wait()
            return
        content = self.files.get(handler.path.rpartition("/")[2])
        if self.status != 200 or content is None:
            handler.send_error(self.status if self.status != 200 else 404)
            return
        start = self.start_answer(handler, wanted if self.ranges else None, len(content))
        if start is not None:
            self.send_body(handler, content[start:])

    def start_answer(self, handler: BaseHTTPRequestHandler, wanted: str | None, size: int) -> int | None:
        """Send the headers; the byte at which the body starts, or None for no body."""
        start = 0
        if match := re.fullmatch(r"bytes=(\d+)-", wanted or ""):
            start = int(match[1]) + self.range_shift
            if start >= size:
                handler.send_error(416)
                return None
            handler.send_response(206)
            handler.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        else:
            handler.send_response(200)
        handler.send_header("Content-Length", str(size - start))
        handler.end_headers()
        return start

    def send_body(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        ends = [end for end in (self.break_after, self.stall_after) if end is not None]
        body_sent = body[: min(ends)] if ends else body
        step = 1000 if self.pause else max(1, len(body_sent))
        for at in range(0, len(body_sent), step):
            handler.wfile.write(body_sent[at : at + step])
            time.sleep(self.pause)
        if self.stall_after is not None:
            self.closing.wait()


@pytest.fixture
def new_mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Mirror]]:
    """Starts a server on each call; they stop with the test."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    running: list[tuple[Mirror, ThreadingHTTPServer]] = []

    def start() -> Mirror:
        mirror = Mirror()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                try:
                    mirror.answer(self)
                except ConnectionError:  # the client has given up, as it should
                    self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        mirror.url = f"http://127.0.0.1:{server.server_port}/"
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        running.append((mirror, server))
        return mirror

    yield start
    for mirror, server in running:
        mirror.closing.set()
        server.shutdown()
        server.server_close()


@pytest.fixture
def mirror(new_mirror: Callable[[], Mirror]) -> Mirror:
    return new_mirror()


@pytest.fixture
def refused_url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a server that is down: its port is taken, and nobody listens."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/"


@pytest.fixture(scope="session")
def small_mnist(mnist_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first 1,300 training and 300 test images of the real MNIST as IDX files: an epoch takes a moment."""
    mnist = data.load("mnist", mnist_dir)
    directory = tmp_path_factory.mktemp("small-mnist")
    for prefix, images, labels in (
        ("train", mnist.train_images[:1300], mnist.train_labels[:1300]),
        ("t10k", mnist.test_images[:300], mnist.test_labels[:300]),
    ):
        for kind, array in (("images", images), ("labels", labels.astype("uint8"))):
            (directory / f"{prefix}-{kind}-idx{array.ndim}-ubyte").write_bytes(encode_idx(array))
    return directory


def write_files(folder: Path, files: dict[str, bytes]) -> Path:
    """The folder, made if need be, with these files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def write_image_folder(folder: Path, counts: dict[str, int], ending: str = ".png") -> Path:
    """An image folder like CIFAR-10's: each class has a colour of its own under its noise."""
    noise = np.random.default_rng(0)
    for split, count in counts.items():
        for label, name in enumerate(CIFAR10_CLASSES):
            (folder / split / name).mkdir(parents=True)
            for index in range(count):
                colour = np.array([25 * label, 250 - 25 * label, 40 * (label % 5)])
                pixels = np.clip(colour + noise.integers(-20, 20, (32, 32, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{index:04}{ending}")
    return folder


@pytest.fixture(scope="session")
def small_cifar10(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image folder of the CIFAR-10 form with 200 training and 50 test images."""
    return write_image_folder(tmp_path_factory.mktemp("small-cifar10"), {"train": 20, "test": 5})
