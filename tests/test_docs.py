"""What README and the pages under docs/ say holds: code runs, links lead somewhere, generated parts are up to date."""

import doctest
import itertools
import json
import re
import subprocess
import sys
from pathlib import Path

import api_reference
import pytest

from bench import RESULTS
from bench.results_page import page as overview
from bench.study.report import LATENCIES, STUDY_FILES, report
from bench.study.rows import StudyFile

REPOSITORY = Path(__file__).resolve().parent.parent
README = (REPOSITORY / "README.md").read_text()
# What the site has of other folders, as tools/site/hooks.py lists it; README is for those who have not come so far.
ELSEWHERE = {
    REPOSITORY / path: name
    for path, name in re.findall(
        r'^    "(.+\.md)": "(.+\.md)",$', (REPOSITORY / "tools/site/hooks.py").read_text(), re.M
    )
}
OF_SITE = [*ELSEWHERE, *sorted((REPOSITORY / "docs").rglob("*.md"))]
PAGES = [REPOSITORY / "README.md", *OF_SITE]
OF_TODAY = [page for page in PAGES if page.name != "CHANGELOG.md"]  # which names what was there once
# Their code runs from top to bottom, each page as one script. Other pages' code has tests of its own, or is a part.
SCRIPTS = [
    *("docs/index.md", "docs/train.md", "docs/own-model.md", "docs/pre-trained.md", "docs/deploy.md"),
    *("docs/serving.md", "docs/int8.md"),
]


def blocks(page: str, language: str) -> list[str]:
    text = (REPOSITORY / page).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def run(page: str, folder: Path) -> str:
    """What the page's code prints, from top to bottom; it may not warn."""
    code = "\n".join(blocks(page, "python"))
    command = [sys.executable, "-W", "error:::__main__", "-W", "ignore::DeprecationWarning", "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("page", SCRIPTS)
def test_code_runs_from_top_to_bottom(page: str, tmp_path: Path) -> None:
    run(page, tmp_path)


def test_readmes_example_is_short_and_does_what_it_says(tmp_path: Path) -> None:
    (example,) = blocks("README.md", "python")
    assert sum(bool(line.strip()) for line in example.splitlines()) <= 15
    assert "10.0% of the weights are active" in run("README.md", tmp_path)
    assert (tmp_path / "model.safetensors").stat().st_size < 4 * 203_530 / 14


def test_readme_is_short() -> None:
    lines = README.splitlines()
    assert len(lines) <= 135
    table = README[README.index(overview.BEGIN) : README.index(overview.END)]
    assert 3 <= sum(line.startswith("|") for line in table.splitlines()) <= 2 + 8


@pytest.mark.parametrize("page", ["docs/train.md"])
def test_sessions_give_what_they_show(page: str) -> None:
    tests = doctest.DocTestParser().get_doctest("".join(blocks(page, "pycon")), {}, page, None, None)
    assert len(tests.examples) >= 5
    assert doctest.DocTestRunner().run(tests).failed == 0


def test_the_reference_is_what_the_docstrings_make() -> None:
    made = api_reference.pages()
    assert {api_reference.CONTENTS, *api_reference.FOLDER.iterdir()} == set(made)
    for path, text in made.items():
        assert path.read_text() == text, "run make reference"


def test_results_are_what_the_rows_make() -> None:
    for path, text in overview.pages(overview.accuracies(), overview.measured()).items():
        assert path.read_text() == text, "run python bench/overview.py"


def test_the_study_is_what_the_rows_make(tmp_path: Path) -> None:
    files = [StudyFile(RESULTS / name) for name in STUDY_FILES.values()]
    made = report(files, json.loads((RESULTS / LATENCIES).read_text())["rows"], tmp_path)
    assert {f"study/{path.name}" for path in (REPOSITORY / "docs" / "study").iterdir()} | {"study.md"} == set(made)
    for name, text in made.items():
        assert (REPOSITORY / "docs" / name).read_text() == text, "run python bench/accuracy_report.py"


def anchors(text: str) -> set[str]:
    """As GitHub makes them of headings: small letters, hyphens for spaces, other signs left out."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", page.read_text()):
        linked = (page.parent / target) if target else page
        assert linked.exists(), target
        if anchor:
            assert anchor in anchors(linked.read_text()), f"{target}#{anchor}"


def test_every_page_can_be_reached_from_the_first_one() -> None:
    reached, waiting = set(), [REPOSITORY / "docs" / "index.md"]
    while waiting:
        page = waiting.pop()
        reached.add(page)
        linked = {(page.parent / target).resolve() for target in re.findall(r"\]\(([\w./-]+\.md)", page.read_text())}
        waiting += linked - reached - set(waiting)
    assert reached >= set(PAGES) - {REPOSITORY / "README.md"}


def without_code(page: Path) -> str:
    return re.sub(r"^```.*?^```", "```", page.read_text(), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", OF_SITE, ids=lambda page: page.name)
def test_a_page_says_first_whom_it_is_for_and_is_short(page: Path) -> None:
    lines = page.read_text().splitlines()
    assert lines[0].startswith("# ")
    assert not lines[1]
    assert re.search(r"\bfor (whoever|people who)\b", " ".join(lines[2:4]), re.IGNORECASE)
    assert len(lines) <= 250 or page.name == "CHANGELOG.md"  # which has as many lines as there were changes


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_picture_has_a_text_in_its_place(page: Path) -> None:
    text = without_code(page)
    assert all(len(alt) > 20 for alt in re.findall(r"!\[([^\]]*)\]", text))
    assert "<img" not in text


@pytest.mark.parametrize("page", OF_SITE, ids=lambda page: page.name)
def test_lists_are_lists_in_the_site_too(page: Path) -> None:
    """GitHub needs no empty line before a list or a table; MkDocs does."""
    lines = without_code(page).splitlines()
    for before, line in itertools.pairwise(lines):
        if re.match(r"- |\d+\. ", line):
            assert not before or re.match(r"- |\d+\. |  ", before), line
        if line.startswith("|"):
            assert not before or before.startswith("|"), line


def test_every_page_is_in_the_sites_navigation() -> None:
    navigation = (REPOSITORY / "mkdocs.yml").read_text().partition("\nnav:\n")[2]
    in_navigation = re.findall(r"[\w/-]+\.md", navigation)
    assert len(in_navigation) == len(set(in_navigation))
    docs = REPOSITORY / "docs"
    assert set(in_navigation) == {ELSEWHERE.get(page) or str(page.relative_to(docs)) for page in OF_SITE}


def test_a_site_that_needs_a_network_is_found_out(tmp_path: Path) -> None:
    check = [sys.executable, str(REPOSITORY / "tools" / "site" / "check.py"), str(tmp_path)]
    page = tmp_path / "index.html"
    page.write_text(
        '<link rel="icon" href="a.png"><img src="a.svg" alt="a"><a href="https://example.org">elsewhere</a>'
    )
    (tmp_path / "a.css").write_text("a { background: url(a.png) }")
    assert subprocess.run(check).returncode == 0
    page.write_text(
        '<script src="https://a.org/b.js"></script><img src="a.svg"><link rel="stylesheet" href="//a.org/c">'
    )
    (tmp_path / "a.css").write_text("@import 'https://a.org/d.css'; a { background: url(//a.org/e.png) }")
    found = subprocess.run(check, capture_output=True, text=True)
    assert found.returncode == 1
    for fault in ("b.js", "a.svg has no text", "//a.org/c", "d.css", "e.png"):
        assert fault in found.stderr


def test_what_the_page_on_adding_an_operator_shows_stands_in_the_sources() -> None:
    shown = re.findall(
        r"^```\w+ (\S+)\n(.*?)^```", (REPOSITORY / "docs/adding-an-operator.md").read_text(), re.M | re.S
    )
    assert len(shown) >= 6
    for file, code in shown:
        assert code in (REPOSITORY / file).read_text(), f"{file} has not what is shown of it:\n{code}"


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([\w-]+):", (REPOSITORY / "Makefile").read_text(), flags=re.MULTILINE))
    named = {target for page in PAGES for target in re.findall(r"\bmake ([a-z][\w-]*)", "\n".join(shell(page)))}
    assert {"demo", "test"} <= named
    assert named <= targets


def shell(page: Path) -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def test_commands_name_scripts_and_options_that_exist() -> None:
    commands = {
        found for page in OF_TODAY for found in re.findall(r"`python ((?:\w+/)?\w+\.py)([^`]*)`", page.read_text())
    }
    assert {"main.py", "bench/overview.py"} <= {script for script, _ in commands}
    for script in {script for script, _ in commands}:
        result = subprocess.run([sys.executable, str(REPOSITORY / script), "--help"], capture_output=True, text=True)
        assert result.returncode == 0, script
        for options in {options for named, options in commands if named == script}:
            for option in re.findall(r"--[\w-]+", options):
                assert option in result.stdout, f"{script} {option}"


def test_sparbor_commands_exist() -> None:
    commands = {
        found
        for page in PAGES
        for found in re.findall(r"^sparbor (onnx \w+|\w+) \S+(.*)", "\n".join(shell(page)), re.M)
    }
    documented = {"inspect", "report", "run", "sparsify", "deploy", "export", "time", "onnx pack"}
    assert {name for name, _ in commands} == documented
    for name in {name for name, _ in commands}:
        result = subprocess.run(
            [sys.executable, "-m", "sparbor", *name.split(), "--help"], capture_output=True, text=True
        )
        assert result.returncode == 0
        for options in {options for named, options in commands if named == name}:
            for option in re.findall(r"--\w+", options.partition("#")[0]):
                assert option in result.stdout, f"{name} {option}"
