"""What a process keeps of the memory it has freed. In processes of their own: it cannot be undone."""

from __future__ import annotations

import json
import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="told by glibc")
_CODE = """
import json, resource, numpy as np
from harness import memory
memory.frugal()

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def held():
    return int(open("/proc/self/statm").read().split()[1])

def use(arrays):
    before = faults()
    [np.ones(1 << 18) for _ in range(arrays)]  # 2 MiB each, all of them at once
    return faults() - before

pages = (2 << 20) / resource.getpagesize()
first, again = use(20), use(20)
kept = held()
memory.give_back()
little = kept - held()
use(80)
kept = held()
memory.give_back()
much = kept - held()
print(json.dumps([arrays / pages for arrays in (first, again, little, much)]))
"""


def test_memory_that_is_needed_again_is_kept_and_much_of_it_given_back() -> None:
    said = subprocess.run([sys.executable, "-c", _CODE], check=True, capture_output=True, text=True).stdout
    first, again, little, much = json.loads(said)
    assert again < 1
    assert again < first
    assert little < 1
    assert much > 70
