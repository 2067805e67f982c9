"""What a row of figures says of the code that measured it."""

import subprocess
from pathlib import Path

import sparbor
from bench.job.environment import ROWS, commit_of, runs_from


def git(repository: Path, *arguments: str) -> None:
    name = ("-c", "user.name=test", "-c", "user.email=test@example.com")
    subprocess.run(["git", *name, *arguments], cwd=repository, check=True, capture_output=True)


def test_a_commit_is_marked_where_code_differs_but_not_by_the_rows_of_a_study(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    rows, code = repository / ROWS / "rows.json", repository / "code.py"
    rows.parent.mkdir(parents=True)
    rows.write_text("[]")
    code.write_text("")
    git(tmp_path, "init", "repository")
    git(repository, "add", ".")
    git(repository, "commit", "-m", "first")

    def ask() -> str:
        commit_of.cache_clear()
        commit = commit_of(repository)
        assert commit is not None
        return commit

    clean = ask()
    assert len(clean) == 12
    rows.write_text("[1]")
    assert ask() == clean
    code.write_text("changed")
    assert ask() == f"{clean}-dirty"


def test_what_is_no_repository_has_no_commit(tmp_path: Path) -> None:
    assert commit_of(tmp_path) is None


def test_the_commit_is_of_the_code_that_runs() -> None:
    """Rows of an installed package, of whatever commit, do not name the checkout's."""
    assert runs_from(Path(sparbor.__file__).parents[2])
    assert not runs_from(Path(__file__).parent)
