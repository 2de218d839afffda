"""People at browsers all at once meet no error. ``python -m tests.crowd`` measures more of them for longer."""

import asyncio

import pytest
from conftest import skip_or_fail

pytestmark = pytest.mark.browser


def test_three_people_do_something_all_the_time(samples_server):
    try:
        from crowd import CHROMIUM, crowd
    except ImportError:
        skip_or_fail("playwright is not installed")
    if not CHROMIUM.exists():
        skip_or_fail(f"{CHROMIUM} is not there")
    report = asyncio.run(crowd(samples_server.url, samples_server.process.pid, "samples", users=3, seconds=6, seed=7))
    assert report["errors"] == 0, report
    assert report["actions"] >= 3
