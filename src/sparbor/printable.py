"""Texts of others, as a terminal may be shown them: a file that nobody trusts could tell it what to do."""


def printable(text: str) -> str:
    """The text in one line; a question mark stands for every character that cannot be seen.

    >>> printable("fc1\\x1b[2J")
    'fc1?[2J'
    """
    return "".join(each if each.isprintable() else "?" for each in text)
