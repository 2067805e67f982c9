"""Memory that tensors free stays with a process that asked for it."""

import json
import subprocess
import sys

import pytest

FAULTS = """
import json, resource, sys, torch
from bench.job import freed_memory
if sys.argv[1] == "kept":
    assert freed_memory.keep()
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
counts = []
for step in range(20):
    before = faults()
    two = [torch.ones(10 << 20) for _ in range(2)]  # larger than what the C library keeps by itself
    del two
    counts.append(faults() - before)
print(json.dumps(counts))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's mallopt")
def test_pages_are_got_once() -> None:
    last_steps = {}
    for kind in ("kept", "given back"):
        command = [sys.executable, "-c", FAULTS, kind]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        last_steps[kind] = sum(json.loads(output)[-8:])  # it takes some until all find their place
    assert last_steps["kept"] < last_steps["given back"] / 10
