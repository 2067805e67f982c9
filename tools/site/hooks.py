"""What MkDocs does to the pages as it builds the site; `mkdocs.yml` names this file.

The pages are written for a reader of the repository: they link to files all over it, and name the file that a piece of
code stands in behind the code's language. A site has its pages alone. So the pages beside `docs/` that a reader wants
are added to it, links to any other file become its path, and the file that code stands in becomes the code's title.
"""

from __future__ import annotations

import os.path
import re
from pathlib import Path, PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

REPOSITORY = Path(__file__).resolve().parents[2]
# Pages that lie elsewhere in the repository, and their names in the site.
ELSEWHERE = {
    "CHANGELOG.md": "changelog.md",
    "CODE_OF_CONDUCT.md": "code-of-conduct.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "examples/README.md": "examples.md",
}
IN_REPOSITORY = {name: path for path, name in ELSEWHERE.items()}
FENCE = re.compile(r"^```", re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The pages that lie elsewhere."""
    for path, name in ELSEWHERE.items():
        files.append(File.generated(config, name, content=(REPOSITORY / path).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The page as the site has it: code and text in turns, of which code comes second."""
    name = page.file.src_uri
    parts = re.split(r"(^```.*?^```$)", markdown, flags=re.MULTILINE | re.DOTALL)
    return "".join(with_title(part) if part.startswith("```") else with_links(part, name) for part in parts)


def with_title(block: str) -> str:
    """```` ```cpp native/ops/ops.h ```` becomes a block with that title; a single word is there for tests alone."""
    opening, _, rest = block.partition("\n")
    language, _, words = opening.removeprefix("```").partition(" ")
    title = f' title="{words}"' if "/" in words or "." in words else ""
    return f"```{language}{title}\n{rest}"


def with_links(text: str, name: str) -> str:
    """Links of the page of that name lead within the site."""
    return re.sub(r"(!?)\[([^\]]*)\]\((?!https?:|#|mailto:)([^)#]*)(#[^)]*)?\)", lambda found: link(found, name), text)


def link(found: re.Match[str], name: str) -> str:
    """One link, to where the site has the file; if it has not, the file's path."""
    image, text, target, anchor = found.groups()
    page = IN_REPOSITORY.get(name, f"docs/{name}")
    path = os.path.normpath(PurePosixPath(page).parent / target).replace(os.sep, "/")
    in_site = ELSEWHERE.get(path, path.removeprefix("docs/") if path.startswith("docs/") else "")
    if not in_site:
        return f"{text} (`{path}`)"
    return f"{image}[{text}]({os.path.relpath(in_site, PurePosixPath(name).parent)}{anchor or ''})"
