"""``kalm bench update``: what an index costs that people use while it changes."""

import json


def measured(done):
    assert done.code == 0, done.err
    return json.loads(done.out)


def test_only_what_changed_is_embedded_again_by_either_side(cli):
    found = measured(cli("bench", "update", "--documents", "300", "--changed", "0.02"))
    assert found["changed"] == 6
    for side in ("ours", "langchain"):
        fill, update = found[side]["fill"], found[side]["update"]
        assert (fill["documents"], fill["embedded"]) == (300, 300)
        assert (update["documents"], update["embedded"]) == (300, 6)
        assert 0 < update["total"]
    ours = found["ours"]["update"]
    assert ours["passages"] == 300
    assert ours["plan"] + ours["reading"] + ours["writing"] + ours["graph"] <= ours["total"] + 0.05
    assert found["machine"]["cores"] >= 1
