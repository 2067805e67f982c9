"""What the page's sections are built from."""

from collections.abc import Mapping, Sequence
from xml.etree.ElementTree import Element

from sparbor.report.elements import Child, element

ARMS = {"baseline": "dense baseline", "dendritic": "dendritic"}


def section(key: str, heading: str, *children: Child) -> Element:
    """A part of the page with a heading, which names it."""
    title = element("h2", heading, id=key)
    return element("section", title, *children, aria_labelledby=key)


def paragraph(*children: Child, class_: str | None = None) -> Element:
    """A paragraph."""
    return element("p", *children, class_=class_)


def figure(caption: str, *children: Child) -> Element:
    """A chart under its caption."""
    return element("figure", element("figcaption", caption), *children)


def table(caption: str, headings: Sequence[str], rows: Sequence[Sequence[Child]], words: int = 0) -> Element:
    """A table whose first column names the rows; the next ``words`` columns hold words, the others figures.

    Where it is wider than the page it scrolls by itself.
    """
    head = element(
        "tr", *(element("th", name, scope="col", class_=_side(at, words)) for at, name in enumerate(headings))
    )
    body = [
        element(
            "tr",
            element("th", row[0], scope="row"),
            *(element("td", cell, class_=_side(at, words)) for at, cell in enumerate(row[1:], start=1)),
        )
        for row in rows
    ]
    whole = element("table", element("caption", caption), element("thead", head), element("tbody", *body))
    return element("div", whole, class_="scroll", tabindex=0, role="region", aria_label=caption)


def _side(column: int, words: int) -> str | None:
    return "figure" if column > words else None


def pairs(entries: Mapping[str, object]) -> Element:
    """Names and values."""
    items = [element("div", element("dt", name), element("dd", str(value))) for name, value in entries.items()]
    return element("dl", *items, class_="pairs")


def details(summary: str, *children: Child) -> Element:
    """What unfolds when it is asked for."""
    return element("details", element("summary", summary), *children)
