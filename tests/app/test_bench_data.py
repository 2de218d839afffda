"""``kalm bench data``: a table of many rows costs nothing per row."""

import json

from typer.testing import CliRunner

from app.cli import application


def test_memory_does_not_grow_with_the_rows():
    reports = []
    for rows in (2_000, 200_000):
        result = CliRunner().invoke(application, ["bench", "data", "--rows", str(rows)])
        assert result.exit_code == 0, result.output
        reports.append(json.loads(result.stdout))
    small, large = reports
    assert large["steps_per_epoch"] == 391  # 200,000 by 512, the last one filled up
    assert large["machine"]["cores"] > 0
    grown = large["anonymous_memory_mib"]["after_batches"] - small["anonymous_memory_mib"]["after_batches"]
    assert grown < 60  # the table itself is 15 MB, an index of Python integers would be more
