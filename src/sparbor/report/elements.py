"""HTML and SVG elements, and what the page's sections are built from.

The standard library's writer escapes all text, so no value can become markup.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias, TypeVar
from xml.etree.ElementTree import Element, tostring

Child: TypeAlias = Element | str | None
_Item = TypeVar("_Item")


def element(tag: str, *children: Child, **attributes: object) -> Element:
    """An element with these children in order; an attribute ``class_`` is named class, ``aria_label`` aria-label.

    Attributes and children that are ``None`` are left out.

    >>> document(element("p", "1 < 2 ", element("b", "& more"), class_="note")).decode().splitlines()[1]
    '<p class="note">1 &lt; 2 <b>&amp; more</b></p>'
    """
    named = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
    made = Element(tag, {name: str(value) for name, value in named.items() if value is not None})
    for child in children:
        if isinstance(child, Element):
            made.append(child)
        elif child is not None and len(made):
            made[-1].tail = (made[-1].tail or "") + child
        elif child is not None:
            made.text = (made.text or "") + child
    return made


def document(root: Element) -> bytes:
    """The file: what UTF-8 cannot write, halves of surrogate pairs, becomes a question mark."""
    return f"<!DOCTYPE html>\n{tostring(root, encoding='unicode', method='html')}\n".encode("utf-8", "replace")


def section(key: str, heading: str, *children: Child) -> Element:
    """A part of the page with a heading, which names it."""
    return element("section", element("h2", heading, id=key), *children, aria_labelledby=key)


def paragraph(*children: Child, class_: str | None = None) -> Element:
    """A paragraph."""
    return element("p", *children, class_=class_)


def figure(caption: str, *children: Child) -> Element:
    """A chart under its caption."""
    return element("figure", element("figcaption", caption), *children)


def table(
    caption: str, items: Iterable[_Item], columns: Mapping[str, Callable[[_Item], Child]], words: int = 0
) -> Element:
    """A row for each item: under each column's heading what the column says of the item.

    The first column names the rows; the next ``words`` columns hold words, the others figures. Where it is wider than
    the page it scrolls by itself.
    """
    sides = [None if at <= words else "figure" for at in range(len(columns))]
    head = [element("th", name, scope="col", class_=side) for name, side in zip(columns, sides, strict=True)]
    body = []
    for item in items:
        name, *cells = (say(item) for say in columns.values())
        tds = [element("td", cell, class_=side) for cell, side in zip(cells, sides[1:], strict=True)]
        body.append(element("tr", element("th", name, scope="row"), *tds))
    rows = element("thead", element("tr", *head)), element("tbody", *body)
    whole = element("table", element("caption", caption), *rows)
    return element("div", whole, class_="scroll", tabindex=0, role="region", aria_label=caption)


def pairs(entries: Mapping[str, object]) -> Element:
    """Names and values."""
    items = [element("div", element("dt", name), element("dd", str(value))) for name, value in entries.items()]
    return element("dl", *items, class_="pairs")


def details(summary: str, *children: Child) -> Element:
    """What unfolds when it is asked for."""
    return element("details", element("summary", summary), *children)


def listing(text: str, label: str) -> Element:
    """Lines of text as they are, which scroll by themselves."""
    return element("pre", text, tabindex=0, role="region", aria_label=label)
