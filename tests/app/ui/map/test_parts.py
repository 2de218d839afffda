"""State, selections and files of the map page."""

import csv
import io

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from app.services.maps.clusters import OUTLIER
from app.ui.map import chart, tables
from app.ui.map.state import MapState, search_link

_texts = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=8).map(str.strip)
_places = st.lists(st.tuples(st.floats(-1, 1, width=32), st.floats(-1, 1, width=32)), max_size=12)


@given(_texts, _texts, st.integers(0, 99_999), _texts, st.sampled_from(["", "en", "zh"]))
@settings(deadline=None)
def test_a_state_comes_back_from_the_address(corpus, run, cluster, task, language):
    state = MapState(corpus=corpus, run=run, cluster=cluster, task=task, interface=language)
    assert MapState.from_params(state.to_params()) == state


@given(st.dictionaries(st.sampled_from(["corpus", "run", "cluster", "against", "task", "lang"]), st.text(max_size=12)))
@settings(deadline=None)
def test_any_address_is_some_state(params):
    state = MapState.from_params(params)
    assert MapState.from_params(state.to_params()) == state


def test_another_map_forgets_what_was_looked_at():
    state = MapState("a", "r", 3, "s", "t")
    assert state.changed(run="r2") == MapState("a", "r2", 0, "", "t")
    assert state.changed(corpus="b") == MapState("b")
    assert state.changed(cluster=4) == MapState("a", "r", 4, "s", "t")


def test_a_link_to_a_search_says_which_label():
    assert search_link("a b", "q&a", "zh", "my set", "x:y") == "./?corpus=a+b&q=q%26a&label=my%2520set%3Ax%3Ay&lang=zh"


@given(_places)
@settings(deadline=None)
def test_a_box_and_the_line_around_it_hold_the_same(places):
    found = np.asarray(places, np.float32).reshape(-1, 2)
    box = chart.selected({"box": [{"x": [0.51, -0.49], "y": [-0.71, 0.31]}]}, found)
    line = chart.selected({"lasso": [{"x": [-0.49, 0.51, 0.51, -0.49], "y": [-0.71, -0.71, 0.31, 0.31]}]}, found)
    assert box.tolist() == line.tolist()


def test_a_line_may_be_hollow():
    corner = np.array([[0, 0], [4, 0], [4, 4], [2, 1], [0, 4]], float)
    assert chart.within(corner, np.array([[2, 0.5], [2, 3], [0.5, 2], [3.5, 2]], np.float32)).tolist() == [
        True,
        False,
        True,
        True,
    ]


@given(
    st.lists(
        st.dictionaries(st.just("customdata"), st.one_of(st.integers(-5, 9), st.text(), st.lists(st.integers(-5, 9))))
    )
)
@settings(deadline=None)
def test_clicked_points_are_those_that_exist(points):
    found = chart.selected({"points": points}, np.zeros((4, 2), np.float32))
    assert set(found.tolist()) <= set(range(4))


def test_large_maps_are_thinned_out_evenly():
    assert chart.drawn(0).tolist() == []
    assert chart.drawn(7).tolist() == list(range(7))
    some = chart.drawn(100_000)
    assert len(some) == chart.MOST_DRAWN
    assert np.diff(some).max() <= 4


def test_marks_of_neighbours_differ_in_colour_or_symbol():
    marks = [chart.mark(number) for number in [OUTLIER, *range(48)]]
    assert len(set(marks)) == len(marks)


@given(
    st.lists(
        st.text(alphabet=st.characters(exclude_characters="\x00\r", exclude_categories=["Cs"]), max_size=9), max_size=5
    )
)
@settings(deadline=None)
def test_a_csv_comes_back_and_holds_no_formula(texts):
    table = pa.table({"id": pa.array(range(len(texts)), pa.int64()), "text": pa.array(texts, pa.string())})
    rows = list(csv.reader(io.StringIO(tables.as_csv(table).decode("utf-8-sig"), newline="")))
    assert rows[0] == ["id", "text"]
    assert [row[1].removeprefix("'") for row in rows[1:]] == [text.removeprefix("'") for text in texts]
    assert not any(row[1].startswith(("=", "+", "-", "@", "\t")) for row in rows[1:])
    assert parquet.read_table(io.BytesIO(tables.as_parquet(table))).equals(table)
