"""Text as a terminal may be shown it, wherever it comes from: names in a file could tell the terminal what to do."""


def printable(text: str) -> str:
    """The text in one line: what is no printable character, such as ESC or the end of a line, by its escape.

    >>> print(printable("fc1\\x1b[2J"))
    fc1\\x1b[2J
    """
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def printable_lines(text: str) -> str:
    """The same of a text of several lines, which stay lines."""
    return "\n".join(map(printable, text.split("\n")))
