"""``kalm bench data``: a table of many rows costs nothing per row."""

import json
import subprocess
import sys

import pytest


def bench(rows):
    command = [sys.executable, "-m", "app.cli", "bench", "data", "--rows", str(rows)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_memory_does_not_grow_with_the_rows():
    small, large = bench(2_000), bench(200_000)
    assert large["steps_per_epoch"] == 391  # 200,000 by 512, the last one filled up
    grown = large["anonymous_memory_mib"]["after_batches"] - small["anonymous_memory_mib"]["after_batches"]
    assert grown < 15  # one Python integer a row would be half of that, the texts far more
