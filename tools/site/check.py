"""Whether a built site can be read without a network, and with eyes closed: ``python tools/site/check.py build/site``.

Scripts, styles, fonts and images have to lie in the site, and every image has to have a text in its place.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

# What a browser fetches by itself when it shows a page. Links that a reader may follow are not among it.
FETCHED = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
    "object": "data",
}
FETCHED_LINKS = {"stylesheet", "icon", "preload", "modulepreload", "preconnect", "dns-prefetch", "manifest"}
ELSEWHERE = re.compile(r"\s*(?:https?:)?//", re.IGNORECASE)
IN_STYLES = re.compile(r"(?:url\(|@import)\s*[\"']?(\s*(?:https?:)?//[^\"')]*)", re.IGNORECASE)


class _Page(HTMLParser):
    """What is wrong with a page."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        address = given.get(FETCHED.get(tag, "")) or ""
        if tag == "link" and FETCHED_LINKS & set((given.get("rel") or "").split()):
            address = given.get("href") or ""
        if ELSEWHERE.match(address):
            self.faults.append(f"<{tag}> fetches {address}")
        if tag == "img" and not given.get("alt"):
            self.faults.append(f"{address} has no text in its place")
        self.faults += [f"a style fetches {each}" for each in IN_STYLES.findall(given.get("style") or "")]


def faults(site: Path) -> Iterator[str]:
    """All that is wrong, with the file that it is in."""
    for file in sorted(site.rglob("*")):
        if file.suffix == ".html":
            page = _Page()
            page.feed(file.read_text(encoding="utf-8"))
            yield from (f"{file}: {fault}" for fault in page.faults)
        elif file.suffix in (".css", ".svg"):
            found = IN_STYLES.findall(file.read_text(encoding="utf-8"))
            yield from (f"{file}: a style fetches {each}" for each in found)


def main() -> None:
    """Say what is wrong, and end with 1 if anything is."""
    (site,) = map(Path, sys.argv[1:])
    found = [*faults(site)]
    if not (site / "index.html").exists():
        found.append(f"{site} has no index.html")
    print("\n".join(found), file=sys.stderr, end="\n" if found else "")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
