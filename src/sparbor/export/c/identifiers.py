"""Which names C files and functions can have, and what can stand in a comment."""

from __future__ import annotations

import re

from sparbor.errors import ArgumentError

LONGEST_NAME = 63  # what C99 promises to tell apart, of a name that is not external

# Of C, and of C++, which includes the header as well.
_KEYWORDS = """
    auto break case char const continue default do double else enum extern float for goto if inline int long register
    restrict return short signed sizeof static struct switch typedef union unsigned void volatile while
    alignas alignof and asm bool catch class constexpr decltype delete explicit export false friend mutable namespace
    new noexcept not nullptr operator or private protected public template this throw true try typeid typename using
    virtual xor
"""


def check_name(name: str) -> str:
    """The name, if functions and files of C can be called so.

    Raises ArgumentError for what is no C identifier, is a keyword, or is kept for the compiler or for `main.c`.

    >>> check_name("digits")
    'digits'
    """
    fault = None
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        fault = "it is not a C identifier: letters, digits and underscores, the first no digit"
    elif name in _KEYWORDS.split():
        fault = "it is a keyword of C or C++"
    elif name.startswith("_"):
        fault = "names that start with an underscore belong to the compiler"
    elif name.lower() == "main":
        fault = "the export has a main.c of its own"
    elif len(name) > LONGEST_NAME:
        fault = f"it is longer than {LONGEST_NAME} characters"
    if fault:
        raise ArgumentError(f"name={name!r}: {fault}; pass another with --name, such as 'digits'")
    return name


def for_comment(text: str) -> str:
    """The text without what could end a comment or a line."""
    return re.sub(r"[^A-Za-z0-9_. -]", "_", text)
