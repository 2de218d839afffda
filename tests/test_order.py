"""What is run first is there: a file that is renamed would be run last without anybody noticing."""

from pathlib import Path

import pytest
from conftest import LONGEST

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", LONGEST)
def test_what_takes_longest_is_there(name):
    assert list(ROOT.glob(f"{name}*"))
