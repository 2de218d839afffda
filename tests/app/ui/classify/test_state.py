from hypothesis import given, settings
from hypothesis import strategies as st

from app.ui.classify.state import ClassifyState, Step, Way, as_label_params

NAMES = [*ClassifyState.__dataclass_fields__, "lang", "q"]


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(NAMES), st.lists(st.text(max_size=30), max_size=3)))
def test_any_address_is_some_state_and_is_written_as_read(params):
    state = ClassifyState.from_params(params)
    assert ClassifyState.from_params(state.to_params()) == state


def test_a_whole_address():
    state = ClassifyState(Step.TRAIN, Way.UPLOAD, "a1", "b2", "c3", "主题", 35, "3.1", ("a :: b", "c"))
    assert ClassifyState.from_params(state.to_params()) == state
    assert state.labels == [("a", "b"), ("c", "")]


def test_nonsense_becomes_the_default():
    params = {"step": ["9"], "way": [""], "work": ["../x"], "threshold": ["101"], "pair": ["a.b"], "task": ["x" * 99]}
    assert ClassifyState.from_params(params) == ClassifyState()


def test_labels_too_long_for_an_address_stay_out_of_it():
    assert as_label_params([("a", "b"), ("c", "")]) == ("a :: b", "c")
    assert as_label_params([("a", "b" * 400)]) == ()
    assert as_label_params([(str(n), "") for n in range(21)]) == ()
