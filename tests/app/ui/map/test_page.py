"""The map page: what it shows, asks for and refuses, without a browser."""

import json
import re

import pytest

from app.services.access import Forbidden, Person, Role
from app.services.maps.clusters import Method
from embedder.errors import AppError
from indexer.catalog.label_tables import Unit
from indexer.catalog.task_tables import TaskState


def shown(page):
    """All HTML of the page."""
    assert not page.exception
    return "".join(element.value for element in page.get("html"))


def url(page):
    return {name: value if isinstance(value, str) else value[-1] for name, value in page.query_params.items()}


def spec(page):
    """The figure as it is sent to the browser."""
    (chart,) = page.get("plotly_chart")
    return json.loads(chart.proto.spec)


def test_a_map_is_drawn_with_a_table_beside_it(open_map):
    page = open_map()
    html = shown(page)
    assert "honey · bees" in html
    assert re.search(r"<dt>Outliers</dt><dd>16.7%</dd>", html)
    assert re.search(r"<dt>Stability</dt><dd>–</dd>", html)
    assert "Input abc123." in html
    traces = spec(page)["data"]
    assert [trace["type"] for trace in traces] == ["scattergl"] * 3
    assert [len(trace["customdata"]) for trace in traces] == [1, 3, 2]


def test_what_documents_say_is_shown_and_never_obeyed(open_map, nasty):
    page = open_map(cluster="1", against="r2")
    assert "<script" not in shown(page)
    assert "&lt;script&gt;alert(1)&lt;/script&gt; **bold**" in shown(page)
    figure = spec(page)
    words = [
        *(text for trace in figure["data"] for text in trace["hovertext"]),
        *(trace["name"] for trace in figure["data"]),
    ]
    words += [note["text"] for note in figure["layout"]["annotations"]]
    assert any("&lt;script&gt;" in word for word in words)
    assert not any("<script" in word or "<a" in word for word in words)
    assert not page.markdown


def test_a_cluster_is_looked_into(open_map, maps):
    page = open_map(cluster="1")
    html = shown(page)
    assert "3 items; the most typical ones" in html
    assert "honey · bees · 蜜蜂" in html
    assert 'href="./?corpus=samples&amp;q=honey&amp;label=topics%3Ahoney+%C2%B7+bees&amp;lang=en"' in html
    assert 'href="document?corpus=samples&amp;doc=2&amp;lang=en"' in html
    page.text_input[1].set_value("bees & honey")
    next(button for button in page.button if button.label == "Rename").click().run()
    assert maps.done == [("rename", 0, "bees & honey")]
    assert "bees &amp; honey" in shown(page)


def test_a_cluster_is_divided(open_map, maps):
    page = open_map(cluster="2")
    next(button for button in page.button if button.label == "Divide this cluster").click().run()
    ((_, plan),) = maps.done
    assert (plan.parent, plan.parent_cluster, plan.name) == ("r1", 1, "topics 2")


def test_the_form_has_a_map_made_and_its_making_is_shown(open_map, maps, make_task):
    page = open_map()
    page.text_input(key="new_name").set_value("fresh")
    page.number_input(key="new_count").set_value(7)
    next(button for button in page.button if button.label == "Make the map").click().run()
    ((_, plan),) = maps.done
    assert (plan.corpus, plan.name, plan.count, plan.unit, plan.method) == (
        "samples",
        "fresh",
        7,
        Unit.DOCUMENT,
        Method.KMEANS,
    )
    assert url(page)["task"] == "t1"
    assert "topics" in page.get("progress")[0].proto.text
    assert "laying out the points" in page.get("progress")[0].proto.text
    maps.tasks["t1"] = make_task(state=TaskState.DONE, result={"run": "r2"})
    page.run()
    assert (url(page)["run"], "task" in url(page)) == ("r2", False)


def test_a_making_is_found_again_without_its_address_and_can_be_stopped(open_map, maps, make_task):
    maps.tasks["t1"] = make_task()
    page = open_map()
    page.button(key="stop").click().run()
    assert maps.tasks["t1"].state is TaskState.CANCELLED


def test_a_failure_is_told_and_dismissed(open_map, maps, make_task, nasty):
    maps.tasks["t1"] = make_task(state=TaskState.FAILED, error=nasty)
    page = open_map(corpus="samples", task="t1")
    assert "The map was not made" in shown(page)
    assert "<script" not in shown(page)
    page.button(key="dismiss").click().run()
    assert "task" not in url(page)


def test_outliers_are_tried_out_and_kept_on_request(open_map, maps):
    page = open_map()
    page.slider(key="threshold-r1").set_value(0.6).run()
    assert "<dd>50.0%</dd>" in shown(page)
    assert maps.done == []
    page.button(key="keep_threshold").click().run()
    assert maps.done == [("threshold", 0.6)]


def test_two_maps_are_compared(open_map):
    page = open_map()
    page.selectbox(key="against").select_index(0).run()
    assert url(page)["against"] == "r2"
    html = shown(page)
    assert "<dd>0.25</dd>" in html
    assert "<tr><td>Title 1</td><td>old</td><td>Outliers</td></tr>" in html


def test_another_map_and_another_corpus(open_map):
    page = open_map(cluster="1")
    page.selectbox(key="run").select_index(1).run()
    assert url(page) == {"run": "r2"}
    page.selectbox(key="corpus").set_value("papers").run()
    assert url(page) == {"corpus": "papers"}
    assert "See what a corpus holds" in shown(page)


def test_a_map_of_an_earlier_index_says_so(open_map, maps):
    assert "earlier version" not in shown(open_map())
    maps.current = False
    assert "earlier version of the index (version 3)" in shown(open_map())


def test_deleting_asks_first_and_shows_the_next(open_map, maps):
    page = open_map()
    page.button(key="delete").click().run()
    assert [run.id for run in maps.saved] == ["r2"]


def test_whoever_only_reads_is_offered_nothing_to_change(open_map, maps, make_task, monkeypatch):
    monkeypatch.setattr("app.ui.frame._nobody", lambda: Person("Vi", Role.VIEWER))
    maps.tasks["t1"] = make_task()
    page = open_map(cluster="1")
    page.slider(key="threshold-r1").set_value(0.6).run()
    assert "<dd>50.0%</dd>" in shown(page)
    assert page.get("progress")
    assert (list(page.button), list(page.text_input), list(page.expander)) == ([], [], [page.expander[0]])
    assert page.expander[0].label == "Compare with another map"
    maps.tasks.clear()
    assert "editors can make one" in shown(open_map(corpus="papers"))


def test_what_is_refused_leaves_the_rest_of_the_page(open_map, maps, make_task):
    def refuse(*_):
        raise Forbidden("This needs the role editor, and Vi is viewer; ask an admin.")

    maps.start = maps.rename = maps.set_threshold = maps.drop = maps.stop = refuse
    maps.tasks["t1"] = make_task()
    page = open_map(cluster="1")
    page.slider(key="threshold-r1").set_value(0.6).run()
    for label in ("Make the map", "Rename", "Divide this cluster", "Keep these outliers", "Delete", "Stop"):
        next(button for button in page.button if button.label == label).click().run()
        assert 'role="alert"' in shown(page)
        assert "This needs the role editor" in shown(page)
        assert [button.label for button in page.button][-1] == "Delete"
        assert "That did not work" not in shown(page)


def test_a_making_that_cannot_be_looked_up_leaves_the_map(open_map, maps):
    def fail(*_):
        raise AppError("The catalog does not answer; try again.")

    maps.task = fail
    page = open_map(task="t1")
    assert "The catalog does not answer; try again." in shown(page)
    assert page.get("plotly_chart")


def test_errors_for_users_are_shown_as_they_are(open_map, maps):
    maps.error = AppError("The map in <x> cannot be read; delete it.")
    assert "The map in &lt;x&gt; cannot be read; delete it." in shown(open_map())


@pytest.mark.parametrize("cluster", ["0", "3", "99999999", "-1", "x", "١"])
def test_nonsense_in_the_address_is_no_cluster(open_map, cluster):
    assert "most typical" not in shown(open_map(run="gone", corpus="gone", cluster=cluster, task="gone", lang="?"))


def test_nothing_to_map(open_map, maps, make_corpus):
    maps.known = [make_corpus(searchable=False)]
    assert "Nothing to map yet" in shown(open_map())


def test_in_chinese(open_map):
    html = shown(open_map(locale="zh-CN", cluster="1"))
    assert "轮廓系数" in html
    assert "在此簇中搜索" in html
    assert 'href="?corpus=samples&amp;run=r1&amp;cluster=2&amp;lang=zh"' in html
    assert 'bees&amp;lang=zh"' in html
