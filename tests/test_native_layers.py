"""The engine's folders include each other in one direction, as CONTRIBUTING lists them."""

import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
NATIVE = REPOSITORY / "native"
MOST_LINES = 500


def listed() -> list[str]:
    """The folders of CONTRIBUTING's table, in order; some share a row."""
    text = (REPOSITORY / "CONTRIBUTING.md").read_text()
    rows = re.findall(r"^\| (`\w+/`.*?) \|", text[text.index("The engine lies in `native/`") :], re.MULTILINE)
    return [folder for row in rows for folder in re.findall(r"`(\w+)/`", row)]


def test_every_folder_is_listed() -> None:
    assert sorted(listed()) == sorted(path.name for path in NATIVE.iterdir() if path.is_dir())


def test_files_include_only_what_stands_above_them() -> None:
    order, checked = listed(), 0
    for path in [*NATIVE.rglob("*.h"), *NATIVE.rglob("*.cpp")]:
        folder = path.relative_to(NATIVE).parts[0]
        for included in re.findall(r'^#include "(\w+)/', path.read_text(), re.MULTILINE):
            assert order.index(included) <= order.index(folder), f"{path} includes {included}"
            checked += 1
    assert checked > 50


def test_no_file_is_long() -> None:
    for path in [*NATIVE.rglob("*.h"), *NATIVE.rglob("*.cpp")]:
        assert len(path.read_text().splitlines()) <= MOST_LINES, path
