"""JSON as a type, read by several threads of a new process at once."""

from __future__ import annotations

import subprocess
import sys

# In a process of its own, which `msgspec.json.decode` in place of `json_decoder` ends by SIGSEGV.
READERS = """
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import make_dataclass
from threading import Barrier
from catalunya.io.json_text import json_decoder

def read(kind, start):
    start.wait()
    return json_decoder(kind).decode('{"a": {"x": 1}, "b": {"x": 2}, "c": {"x": 3}, "d": {"x": 4}}')

sys.setswitchinterval(1e-6)
with ThreadPoolExecutor(8) as pool:
    for _ in range(100):
        kind = make_dataclass("Outer", [(name, make_dataclass(name, [("x", "int")])) for name in "abcd"])
        found = list(pool.map(read, [kind] * 8, [Barrier(8)] * 8))
        assert all((each.a.x, each.d.x) == (1, 4) for each in found)
"""


def test_threads_that_read_a_class_for_the_first_time_do_not_crash() -> None:
    done = subprocess.run([sys.executable, "-c", READERS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
