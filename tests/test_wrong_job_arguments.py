"""Every option of ``main.py``, wrong in every way that we know: one line, status 2, and nothing is written."""

import argparse
import re
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

from bench.job.command import add_options, main
from sparbor.cli.parser import Parser
from tests.wrong_arguments import arguments_of, refusal, takes_any_value, wrong_by_form

LONG = "long" * 100  # no file can have this name
BUDGET = r"must be a positive number"
NOT_THERE = r"put the four IDX files there, or leave data_dir \(--data-dir\) out to have the data downloaded"

# By option: values that are wrong, perhaps with options behind them, and what is said of them.
WRONG: dict[str, list[tuple[str, str]]] = {
    "--dataset": [
        ("imagenet", r"dataset='imagenet': must be one of 'mnist', 'cifar10'"),
        ("cifar10", r"does not hold CIFAR-10 .*it looks like MNIST .*: pass --dataset mnist"),
    ],
    "--epochs": [(value, rf"epochs={value}: must be at least 1") for value in ("0", "-1")],
    "--sparsity": [
        *((value, rf"sparsity={value}(\.0)?: must be at least 0 and below 1") for value in ("1", "-0.1", "nan", "inf")),
        ("0.9 --latency-us=40", r"argument --latency-us: not allowed with argument --sparsity"),
    ],
    "--multiply-adds": [(value, rf"\(multiply_adds={value}(\.0)?\): {BUDGET}") for value in ("0", "-1", "nan", "inf")]
    + [("1e-9", r"\(multiply_adds=1e-09\): the model costs 48 multiply_adds with a single slot in each layer")],
    "--kilobytes": [
        *((value, rf"\(kilobytes={value}(\.0)?\): {BUDGET}") for value in ("0", "-1", "nan", "inf")),
        ("1", r"\(kilobytes=1\): the model costs 7\.554 kilobytes with a single slot in each layer"),
    ],
    "--latency-us": [(value, rf"\(latency_us={value}(\.0)?\): {BUDGET}") for value in ("0", "-1", "nan", "inf")],
    "--seed": [(value, rf"seed={value}: must be a whole number from 0 to") for value in ("-1", "9" * 20)],
    "--learning-rate": [
        *((value, rf"learning_rate={value}(\.0)?: must be a positive number") for value in ("0", "-1", "nan", "inf")),
        ("1e30 --epochs=1", r"training loss is (nan|inf) in epoch 0: lower the learning rate"),
    ],
    "--dendrites": [
        ("-1", r"dendrites=-1: must be at least 0, the generations to grow"),
        ("2 --sparsity=0.999", r"growth: each dendrite of layer 'fc3' would have \d\.\d active we"),
    ],
    "--data-dir": [
        ("absent", rf"data_dir \(--data-dir\) absent is not a directory; {NOT_THERE}"),
        ("text", rf"data_dir \(--data-dir\) text is not a directory; {NOT_THERE}"),
        ("a\0b", r"data_dir \(--data-dir\) a\\x00b is not a directory"),
        (LONG, r"is not a directory"),
        ("folder", rf"data_dir \(--data-dir\) folder does not hold MNIST: missing .*; {NOT_THERE}"),
        ("folder --out=new/below", r"does not hold MNIST"),
    ],
    "--out": [
        ("text", r"out='text': cannot write there \(File exists\); choose another --out"),
        ("text/new", r"out='text/new': cannot write there \(Not a directory\); choose another --out"),
        ("a\0b", r"out='a\\x00b': cannot write there \(embedded null byte\); choose another --out"),
        (LONG, r"cannot write there \(File name too long\); choose another --out"),
        ("nowhere", r"out='nowhere': cannot write there \(File exists\)"),
        ("taken", r"out='taken': metrics\.json is a directory there; remove it or choose another --out"),
        ("new --resume", r"resume: there is no new/checkpoint\.pt; leave out --resume to start anew"),
        (f"{LONG} --resume", r"resume: there is no .*; leave out --resume"),
        (
            "torn --resume",
            r"checkpoint torn/checkpoint\.pt cannot be read \(Weights only load failed\): leave out --res",
        ),
    ],
    "--weights": [(value, rf"weights='{value}': must be one of 'word16', 'int8'") for value in ("int4", "")],
    "--device": [
        ("abacus", r"device='abacus': not a device; use 'cpu' or 'cuda'"),
        ("cuda:99", r"device='cuda:99': this machine has \d+ CUDA devices; use 'cpu'"),
        ("meta", r"device='meta': must be 'cpu' or 'cuda'"),
    ],
}


@pytest.fixture(scope="module")
def filled(small_mnist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with results of an earlier run, and what is no place for results or for data."""
    folder = tmp_path_factory.mktemp("filled")
    shutil.copytree(small_mnist, folder / "mnist")
    for name in ("PAI", "folder", "taken/metrics.json", "torn", "temporary"):
        (folder / name).mkdir(parents=True)
    for name in ("metrics.json", "PAI.png", "report.html", "model.safetensors"):
        (folder / "PAI" / name).write_text("older")
    (folder / "text").write_text("text")
    (folder / "torn" / "checkpoint.pt").write_text("no checkpoint")
    (folder / "nowhere").symlink_to("not there")
    return folder


@pytest.fixture
def folder(filled: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, where the job runs; what it writes for a while lies there too."""
    monkeypatch.chdir(filled)
    monkeypatch.setattr(tempfile, "tempdir", str(filled / "temporary"))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return filled


def job_parser() -> argparse.ArgumentParser:
    parser = Parser(prog="main.py")
    add_options(parser)
    return parser


@pytest.mark.parametrize(
    ("option", "value", "said"), [(option, *case) for option, cases in WRONG.items() for case in cases]
)
def test_a_wrong_value(option: str, value: str, said: str, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    value, *others = value.split(" ")
    error = refusal(main, ["--data-dir=mnist", f"{option}={value}", *others], folder, capfd)
    assert error.startswith("main.py: error: ")
    assert re.search(said, error), error


def test_every_option_that_takes_a_value_is_given_wrong_ones() -> None:
    taking = {name for name, argument in arguments_of(job_parser()).items() if takes_any_value(argument)}
    assert taking == set(WRONG)


def test_what_the_parser_refuses(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for line, said in wrong_by_form(job_parser(), []):
        error = refusal(main, line, folder, capfd)
        assert said in error
        assert "see main.py --help)" in error
