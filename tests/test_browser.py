"""The page that reads digits, in Chromium: what it reads, how fast, how it looks, and what it says where it cannot."""

import base64
import contextlib
import io
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import sparbor
from bench import data
from sparbor.engine.runtime import Runtime
from sparbor.export.c.target import export_c
from tests.c_programs import STRICT, needs
from tests.conftest import REPOSITORY
from tests.strokes import DIGITS

EXAMPLE = REPOSITORY / "examples" / "browser"
PAGE = EXAMPLE / "digits.html"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}
DESK = {"viewport": {"width": 1280, "height": 800}}
WAIT = 120_000  # milliseconds: other tests may have the processor
MODULE = re.compile(r'<script type="text/plain" id="module" data-made-by="(.*?)">(.*?)</script>')

# Draws images of bytes into the square one after another, and gives what the page reads: the shares of the digits.
DRAW = """({images, smooth, place}) => {
  const bytes = Uint8Array.from(atob(images), (letter) => letter.charCodeAt(0));
  const small = new OffscreenCanvas(28, 28).getContext("2d");
  const pixels = small.createImageData(28, 28);
  drawing.imageSmoothingEnabled = smooth;
  const found = [];
  for (let image = 0; image < bytes.length; image += 784) {
    for (let i = 0; i < 784; i++) pixels.data[4 * i + 3] = bytes[image + i];
    small.putImageData(pixels, 0, 0);
    drawing.clearRect(0, 0, 280, 280);
    drawing.drawImage(small.canvas, ...place);
    found.push(readDrawing());
  }
  return found;
}"""

Open = Callable[..., Any]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A browser, without a window."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
    if CHROMIUM is None:
        pytest.skip("needs Chromium (Debian: apt-get install chromium)")
    with playwright.sync_playwright() as started:
        options = ["--no-sandbox", "--disable-dev-shm-usage"]
        browser = started.chromium.launch(executable_path=CHROMIUM, args=options, timeout=WAIT)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Any) -> Iterator[Open]:
    """Opens the page; it may ask for nothing but itself, and leave no error in the console."""
    with contextlib.ExitStack() as contexts:
        errors: list[str] = []
        requests: list[str] = []

        def open_it(script: str = "", page: Path = PAGE, **options: Any) -> Any:
            context = contexts.enter_context(contextlib.closing(chromium.new_context(**{**DESK, **options})))
            context.set_default_timeout(WAIT)
            opened = context.new_page()
            opened.add_init_script(script)
            opened.on("console", lambda message: errors.append(message.text))
            opened.on("pageerror", lambda error: errors.append(str(error)))
            opened.on("request", lambda request: requests.append(request.url))
            opened.goto(page.as_uri())
            if options.get("java_script_enabled", True):
                opened.wait_for_function("network !== null || !document.getElementById('failure').hidden")
            return opened

        yield open_it
        assert errors == []
        loaded = [url for url in requests if not url.startswith("data:")]  # the icon, which is in the page
        assert all(url.startswith("file:") and url.endswith("/digits.html") for url in loaded)


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    return sparbor.load(EXAMPLE / "digits.safetensors")


def draw_by_mouse(page: Any, digit: int) -> None:
    box = page.locator("#drawing").bounding_box()
    for stroke in DIGITS[digit]:
        (x, y), *rest = [(box["x"] + box["width"] * x, box["y"] + box["height"] * y) for x, y in stroke]
        page.mouse.move(x, y)
        page.mouse.down()
        for place in rest:
            page.mouse.move(*place, steps=3)
        page.mouse.up()


def build(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(EXAMPLE / "build.py"), *arguments], capture_output=True, text=True)


def needs_compiler() -> None:
    needs("clang", "wasm-ld")
    if not Path("/usr/include/wasm32-wasi/string.h").exists():
        pytest.skip("wasi-libc is not installed")


def test_the_page_that_is_there_is_what_the_build_makes(tmp_path: Path, open_page: Open) -> None:
    """With the compiler that it names, to the byte; with another but for the module, which must read digits as well."""
    needs_compiler()
    built = tmp_path / "digits.html"
    done = build("--out", str(built))
    assert (done.returncode, done.stderr) == (0, "")
    texts = [path.read_text("utf-8") for path in (built, PAGE)]
    assert MODULE.sub("", texts[0]) == MODULE.sub("", texts[1]), "run python examples/browser/build.py"
    if MODULE.findall(texts[0])[0][0] == MODULE.findall(texts[1])[0][0]:
        assert texts[0] == texts[1], "run python examples/browser/build.py"
    page = open_page(page=built)
    draw_by_mouse(page, 7)
    assert page.inner_text("#digit") == "7"


def test_the_kernel_for_webassembly_compiles_without_a_warning(runtime: Runtime, tmp_path: Path) -> None:
    needs_compiler()
    export_c(runtime.program, tmp_path)
    flags = (*STRICT, "-Wno-unused-function", "--target=wasm32-wasi", "-O2")  # of a part, only its vectors may be used
    for vectors in ((), ("-msimd128",)):
        subprocess.run(["clang", *flags, *vectors, "-c", "model.c", "-o", "model.o"], cwd=tmp_path, check=True)


def test_all_of_it_is_small(runtime: Runtime) -> None:
    assert PAGE.stat().st_size <= 150_000
    assert (EXAMPLE / "digits.safetensors").stat().st_size <= 70_000
    active = sum(layer.active for layer in runtime.describe())
    assert f"{active:,} of 268,800 that are left" in PAGE.read_text("utf-8")


@pytest.mark.parametrize("digit", range(10))
def test_a_digit_drawn_by_mouse(digit: int, open_page: Open) -> None:
    page = open_page()
    draw_by_mouse(page, digit)
    assert page.inner_text("#digit") == str(digit)
    assert re.fullmatch(rf"This is a {digit} \((>\s)?\d+\.\d\s%\)\.", page.get_by_role("status").inner_text())
    texts = page.locator("#scores .share").all_inner_texts()
    shares = [float(text.strip("> %\u00a0")) for text in texts]
    assert page.locator("#scores th").all_inner_texts() == list("0123456789")
    assert np.argmax(shares) == digit
    assert sum(shares) == pytest.approx(100, abs=0.6)
    widths = page.eval_on_selector_all(".bar", "bars => bars.map(bar => bar.getBoundingClientRect().width)")
    assert np.argmax(widths) == digit
    assert re.match(r"The answer took [\d.,]+\sµs: [\d.,]+\sµs in the network, ", page.inner_text("#times"))


def test_a_digit_drawn_by_finger_does_not_move_the_page(open_page: Open) -> None:
    page = open_page(**PHONE)
    box = page.locator("#drawing").bounding_box()
    touches = page.context.new_cdp_session(page)

    def touch(kind: str, *places: tuple[float, float]) -> None:
        points = [{"x": box["x"] + box["width"] * x, "y": box["y"] + box["height"] * y} for x, y in places]
        touches.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    (stroke,) = DIGITS[1]
    touch("touchStart", stroke[0])
    for step in range(1, 11):
        touch("touchMove", (0.5, 0.82 - 0.064 * step))  # upwards, as one scrolls down
    touch("touchEnd")
    page.wait_for_function("document.getElementById('times').textContent")
    assert page.inner_text("#digit") == "1"
    assert page.evaluate("scrollY") == 0


def test_a_digit_drawn_by_keys(open_page: Open) -> None:
    page = open_page()
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    for _ in range(19):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    assert page.get_by_role("status").inner_text().startswith("This is a 1 ")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # on Clear
    assert page.get_by_role("status").inner_text().startswith("The square is empty.")


def test_a_second_finger_and_other_buttons_draw_nothing(open_page: Open) -> None:
    page = open_page()
    page.locator("#drawing").click(button="right")
    assert page.evaluate("imageOf(drawing)") is None
    places = "{clientX: 300, clientY: 300, bubbles: true, isPrimary: true, pointerType: 'pen'"
    page.evaluate(f"drawing.canvas.dispatchEvent(new PointerEvent('pointermove', {places}, pointerId: 3}}))")
    assert page.evaluate("imageOf(drawing)") is None


@pytest.mark.parametrize(
    ("smooth", "place"),
    [
        pytest.param(False, (0, 0, 280, 280), id="as they are"),
        pytest.param(True, (20, 45, 215, 215), id="smaller, elsewhere, smooth"),
    ],
)
def test_a_thousand_images_drawn_into_the_square(
    smooth: bool, place: tuple[int, ...], open_page: Open, mnist_dir: Path
) -> None:
    mnist = data.load("mnist", mnist_dir)
    images, labels = mnist.test_images[::10], mnist.test_labels[::10]
    options = {"images": base64.b64encode(images.tobytes()).decode(), "smooth": smooth, "place": place}
    shares = np.array(open_page().evaluate(DRAW, options))
    assert shares.shape == (1000, 10)
    assert (shares.argmax(1) == labels).mean() >= 0.975


def test_the_network_answers_as_on_the_engine(runtime: Runtime, open_page: Open, mnist_dir: Path) -> None:
    images = data.load("mnist", mnist_dir).test_images[:50]
    page = open_page()
    run = "image => { network.image.set(image); network.run(); return [...network.scores]; }"
    found = np.array([page.evaluate(run, image.ravel().tolist()) for image in images])
    expected = runtime(images)
    assert np.abs(found - expected).max() <= 1e-3 * np.abs(expected).max()
    assert (found.argmax(1) == expected.argmax(1)).all()


def test_a_prediction_takes_less_than_a_millisecond(open_page: Open) -> None:
    page = open_page()
    draw_by_mouse(page, 5)
    best = "call => Math.min(...Array.from({length: 9}, () => microsecondsOf(call)))"
    assert 0 < page.evaluate(f"({best})(network.run)") < 1000
    assert 0 < page.evaluate(f"({best})(readDrawing)") < 1000, "with what makes the drawing an image"


def luminance(colour: tuple[float, ...]) -> float:
    """As WCAG defines it."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (part / 255 for part in colour[:3])]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("device", [PHONE, DESK], ids=["phone", "desk"])
def test_it_is_readable(device: dict[str, Any], scheme: str, open_page: Open) -> None:
    page = open_page(**device, color_scheme=scheme)
    draw_by_mouse(page, 7)
    width, height = device["viewport"]["width"], device["viewport"]["height"]
    assert page.evaluate("document.documentElement.scrollWidth") == width
    answer = page.locator("#answer").bounding_box()
    assert answer["y"] + answer["height"] <= height, "the answer is seen while one draws"
    assert page.locator("#clear").bounding_box()["height"] >= 44

    def colour(selector: str, part: str) -> tuple[float, ...]:
        text = page.eval_on_selector(selector, f"element => getComputedStyle(element).{part}")
        return tuple(map(float, re.findall(r"[\d.]+", text)))

    paper = colour("html", "backgroundColor")
    assert (luminance(paper) < 0.1) == (scheme == "dark")
    for text in ("#answer", "#digit", "caption", "#times", "footer p"):
        assert contrast(colour(text, "color"), paper) >= 4.5, text
    assert contrast(colour("#clear", "color"), colour("#clear", "backgroundColor")) >= 4.5
    shot = Image.open(io.BytesIO(page.locator("#drawing").screenshot())).convert("RGB")
    stroke, corner = (shot.getpixel((int(shot.width * x), int(shot.height * y))) for x, y in ((0.5, 0.22), (0.03, 0.5)))
    assert contrast(stroke, corner) >= 10


def test_all_that_is_there_has_a_name(open_page: Open) -> None:
    page = open_page()
    for role, name in (
        ("application", "Square to draw a digit in"),
        ("button", "Clear"),
        ("img", "Your drawing as the network gets it: 28 × 28 pixels"),
        ("table", "Scores of the ten digits"),
        ("region", "Your drawing"),
        ("region", "What the network says"),
    ):
        assert page.get_by_role(role, name=name, exact=True).count() == 1, name
    assert page.get_by_role("status").count() == 1
    assert page.get_by_role("rowheader").count() == 10


def test_an_empty_square_is_said_to_be_empty(open_page: Open) -> None:
    page = open_page()
    empty = "The square is empty. Draw a digit from 0 to 9 in it."
    assert page.get_by_role("status").inner_text() == empty
    draw_by_mouse(page, 3)
    assert page.get_by_role("status").inner_text() != empty
    page.get_by_role("button", name="Clear").click()
    assert page.get_by_role("status").inner_text() == empty
    assert page.inner_text("#digit") == "?"
    assert page.inner_text("#times") == ""
    assert set(page.eval_on_selector_all(".share", "all => all.map(each => each.textContent)")) == {"–"}


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        pytest.param("delete window.WebAssembly", "this browser has no WebAssembly", id="no WebAssembly"),
        pytest.param(
            "WebAssembly.instantiate = async () => { throw new WebAssembly.CompileError('invalid opcode'); }",
            "this browser's WebAssembly does not take it (invalid opcode)",
            id="no vector instructions",
        ),
        pytest.param(
            "const read = CanvasRenderingContext2D.prototype.getImageData;"
            "CanvasRenderingContext2D.prototype.getImageData = function (...place) {"
            "  const pixels = read.apply(this, place); pixels.data.fill(255); return pixels; }",
            "this browser does not let the page read its own drawing",
            id="canvas that cannot be read",
        ),
    ],
)
def test_a_browser_that_cannot_run_it_is_told_why(script: str, reason: str, open_page: Open) -> None:
    page = open_page(script)
    assert page.get_by_role("alert").inner_text().startswith(f"The network cannot run: {reason}")
    assert not page.locator("#drawing").is_visible()


def test_without_javascript_it_says_so(open_page: Open) -> None:
    page = open_page(java_script_enabled=False)
    assert "this page needs JavaScript" in page.inner_text("main")
    assert not page.locator("#drawing").is_visible()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("none.safetensors",), "none.safetensors"),
        ((str(REPOSITORY / "tests/golden/rows.safetensors"),), "the page needs a model of one image of 28 x 28 bytes"),
        (("--clang", "no-such-clang"), "--clang='no-such-clang' does not run (No such file or directory)"),
        (("--clang", "false"), "--clang='false' cannot compile for WebAssembly: install LLD and wasi-libc"),
    ],
)
def test_a_build_that_cannot_be_made_leaves_nothing(arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    done = build(*arguments, "--out", str(tmp_path / "digits.html"))
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []
