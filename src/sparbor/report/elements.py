"""HTML and SVG elements. The standard library's writer escapes all text, so no value can become markup."""

from typing import TypeAlias
from xml.etree.ElementTree import Element, tostring

Child: TypeAlias = Element | str | None


def element(tag: str, *children: Child, **attributes: object) -> Element:
    """An element with these children in order; an attribute ``class_`` is named class, ``aria_label`` aria-label.

    Attributes and children that are ``None`` are left out.

    >>> document(element("p", "1 < 2 ", element("b", "& more"), class_="note")).decode().splitlines()[1]
    '<p class="note">1 &lt; 2 <b>&amp; more</b></p>'
    """
    names = {name: name.rstrip("_").replace("_", "-") for name in attributes}
    made = Element(tag, {names[name]: str(value) for name, value in attributes.items() if value is not None})
    for child in children:
        add(made, child)
    return made


def add(parent: Element, child: Child) -> None:
    """Append an element or text."""
    if isinstance(child, Element):
        parent.append(child)
    elif child is not None and len(parent):
        parent[-1].tail = (parent[-1].tail or "") + child
    elif child is not None:
        parent.text = (parent.text or "") + child


def document(root: Element) -> bytes:
    """The file: what UTF-8 cannot write, halves of surrogate pairs, becomes a question mark."""
    return f"<!DOCTYPE html>\n{tostring(root, encoding='unicode', method='html')}\n".encode("utf-8", "replace")
