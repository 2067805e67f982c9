"""Memory that tensors free stays with a process that asked for it."""

import subprocess
import sys

import pytest

FAULTS = """
import resource, torch
from sparbor.benchmark import freed_memory
assert freed_memory.keep()
def fill():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(4 << 20)  # as large as a layer's outputs for a batch
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(fill(), fill())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's mallopt")
def test_pages_are_got_once() -> None:
    output = subprocess.run([sys.executable, "-c", FAULTS], check=True, capture_output=True, text=True).stdout
    first, second = map(int, output.split())
    assert second < first / 10
