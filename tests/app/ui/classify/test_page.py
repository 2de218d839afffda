import re

import pytest

from app.services.access import OWNER, Forbidden
from app.services.classify.service import AT_ONCE
from app.services.classify.tables import Example, read_table, write_csv
from indexer.catalog.task_tables import TaskState

NASTY = '<img src=x onerror=alert(1)> **bold** $x$ [a](http://b) \u202eexe ";DROP TABLE labels;--'
EVIL = "<script>alert(1)</script> **b** [a](http://b)"


def html(page):
    assert not page.exception
    return "\n".join(element.value for element in page.main.get("html"))


def words(page):
    return re.sub(r"<[^>]+>", " ", html(page))


def url(page):
    return {name: value if isinstance(value, str) else value[-1] for name, value in page.query_params.items()}


def buttons(page):
    return {button.key: button for button in page.button}


def as_csv(examples, **columns):
    return write_csv(["text", "label"], [(one.text, one.label) for one in examples])


def test_described_labels_label_what_is_typed_and_stand_in_the_address(open_page):
    page = open_page(label=["bees :: honey hive", "stars :: moon planet"])
    assert page.data_editor[0].value.to_numpy().tolist() == [["bees", "honey hive"], ["stars", "moon planet"]]
    page.text_area(key="texts").input("honey in the hive\n\nmoon and planet")
    next(button for button in page.button if button.label == "Label").click().run()
    shown = re.findall(r'<strong class="kalm-given" dir="auto">(\w+)<', html(page))
    assert shown == ["bees", "stars"]
    assert page.query_params["label"] == ["bees :: honey hive", "stars :: moon planet"]


def test_below_the_threshold_the_page_says_that_no_label_was_given(open_page):
    page = open_page(label=["bees :: honey", "stars :: moon"], threshold="99")
    page.text_area(key="texts").input("something else")
    next(button for button in page.button if button.label == "Label").click().run()
    assert "kalm-none" in html(page)
    assert "no label" in words(page)


def test_texts_beyond_those_labelled_at_once_are_not_dropped_in_silence(open_page):
    page = open_page(label=["bees :: honey", "stars :: moon"])
    for lines, is_said in ((AT_ONCE, False), (AT_ONCE + 1, True)):
        page.text_area(key="texts").input("honey\n" * lines)
        next(button for button in page.button if button.label == "Label").click().run()
        assert html(page).count("kalm-given") == AT_ONCE
        assert ("Only the first 200 texts" in words(page)) is is_said


def test_described_labels_can_be_kept(open_page, service):
    page = open_page(label=["bees :: honey", "stars :: moon"])
    page.text_input(key="described_name").input("topics").run()
    page.button(key="save_described").click().run()
    assert url(page)["step"] == "use"
    assert [one.name for one in service.classifiers()] == ["topics"]
    assert "Described labels" in words(page)


def test_a_file_is_summed_up_learnt_from_and_judged(open_page, service, examples):
    page = open_page(way="upload")
    data = as_csv(examples) + b"no label,\r\n,bees\r\n"
    page.file_uploader[0].set_value(("mine.csv", data, "text/csv")).run()
    assert (page.selectbox(key="text_column").value, page.selectbox(key="label_column").value) == ("text", "label")
    assert "30 examples of 2 labels; read as UTF-8" in words(page)
    assert "Row 32 has no label" in words(page)
    assert "Row 33 has no text" in words(page)
    page.button(key="learn").click().run()
    assert url(page)["step"] == "train"
    work = service.work(url(page)["work"])
    assert (len(work.examples), work.unlabelled) == (30, ("no label",))
    assert "Logistic regression" in words(page)
    assert "Confusion matrix" in words(page)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [(b"%PDF-1.4", "is not text"), (b"", "is empty"), (b"text,label\na,\n", "No row has both"), (b"a\nb\n", "choose")],
)
def test_a_file_that_will_not_do_is_explained(open_page, data, sentence):
    page = open_page(way="upload")
    page.file_uploader[0].set_value(("mine.csv", data, "text/csv")).run()
    assert sentence in words(page)


def test_what_is_typed_is_learnt_from(open_page, service):
    page = open_page(way="type")
    rows = {0: ("hive", "a"), 1: ("wax", "a"), 2: ("moon", "b"), 3: ("sun", "b"), 4: ("sky", "")}
    page.session_state["typed_editor"] = {
        "edited_rows": {place: {"text": text, "label": label} for place, (text, label) in rows.items()},
        "added_rows": [],
        "deleted_rows": [],
    }
    page.run()
    page.button(key="learn").click().run()
    work = service.work(url(page)["work"])
    assert work.examples == (Example("hive", "a"), Example("wax", "a"), Example("moon", "b"), Example("sun", "b"))
    assert "Prototypes" in words(page)


def test_much_to_learn_from_becomes_long_work_that_the_address_finds_again(open_page, service, tasks, examples):
    page = open_page(way="upload")
    many = [Example(f"{one.text} {n}", one.label) for n in range(7) for one in examples]
    page.file_uploader[0].set_value(("mine.csv", as_csv(many), "text/csv")).run()
    page.button(key="learn").click().run()
    (task,) = tasks.known.values()
    assert (task.kind, task.parameters) == ("classify.train", {"work": url(page)["work"]})
    again = open_page(**page.query_params)
    assert "goes on if you close the page" in words(again)
    service.train(OWNER, url(page)["work"])
    tasks.becomes(task.id, state=TaskState.DONE)
    again.run()
    assert "Confusion matrix" in words(again)
    assert "task" not in url(again)


def test_long_work_can_be_cancelled_and_its_failure_is_told(open_page, service, tasks, work):
    task = tasks.submit(OWNER, "classify.train", {"work": work})
    page = open_page(step="train", work=work, task=task)
    page.button(key="cancel_task").click().run()
    assert "It was cancelled" in words(page)
    tasks.becomes(task, state=TaskState.FAILED, error="The model <x> is not there; fetch it.")
    assert "The model &lt;x&gt; is not there; fetch it." in html(open_page(step="train", work=work, task=task))


def test_who_may_not_cancel_long_work_is_told_so(open_page, tasks, work, monkeypatch):
    def refused(person, task_id):
        raise Forbidden("Only an editor may do this.")

    monkeypatch.setattr(tasks, "cancel", refused)
    page = open_page(step="train", work=work, task=tasks.submit(OWNER, "classify.train", {"work": work}))
    page.button(key="cancel_task").click().run()
    assert "Only an editor may do this." in words(page)


def test_an_old_address_of_long_work_is_told_and_forgotten(open_page, tasks, work):
    page = open_page(step="train", work=work, task="long-gone")
    assert "There is no such task." in words(page)
    assert "Confusion matrix" in words(page)
    assert "task" not in url(page)


def test_the_threshold_moves_all_figures(open_page, work):
    page = open_page(step="train", work=work)
    assert "100.0%" in words(page)
    page.slider(key="threshold").set_value(100).run()
    assert url(page)["threshold"] == "100"
    assert "0.0%" in words(page)


def test_a_pair_shows_its_texts(open_page, service, work, examples):
    page = open_page(step="train", work=work)
    pairs = page.selectbox(key="pair")
    assert any("stars → bees" in option for option in pairs.options)
    pairs.set_value("1.0").run()
    assert examples[0].text in words(page)
    assert url(page)["pair"] == "1.0"
    for nonsense in ("9.9", "x", "1.7"):
        html(open_page(step="train", work=work, pair=nonsense))


def test_a_wrong_label_is_found_corrected_and_learnt_again(open_page, service, work, examples):
    page = open_page(step="train", work=work)
    editor = next(one for one in page.data_editor if one.key.startswith("errors"))
    assert editor.value["text"].tolist()[0] == examples[0].text
    page.session_state[editor.key] = {"edited_rows": {0: {"take": True}}, "added_rows": [], "deleted_rows": []}
    page.run()
    page.button(key="correct").click().run()
    assert service.work(work).examples[0].label == "bees"
    assert "The examples have changed" in words(page)
    page.button(key="learn_again").click().run()
    assert not service.work(work).is_stale


def test_what_is_labelled_next_becomes_an_example(open_page, service, work):
    page = open_page(step="train", work=work)
    editor = next(one for one in page.data_editor if one.key.startswith("next"))
    texts = editor.value["text"].tolist()
    assert set(texts) == {"honey moon", "<script>alert(1)</script> hive"}
    page.session_state[editor.key] = {"edited_rows": {0: {"label": "bees"}}, "added_rows": [], "deleted_rows": []}
    page.run()
    page.button(key="add").click().run()
    assert service.work(work).examples[-1] == Example(texts[0], "bees")
    assert len(service.work(work).unlabelled) == 1


def test_what_was_learnt_is_saved_tried_and_labels_a_table(open_page, service, work):
    page = open_page(step="use", work=work, threshold="10")
    assert "No classifier yet" in words(page)
    page.text_input(key="name").input("topics")
    next(button for button in page.button if button.label == "Save").click().run()
    assert url(page)["classifier"] == "topics"
    assert service.classifiers()[0].threshold == 0.1
    page.text_area(key="try_text").input("honey comb")
    next(button for button in page.button if button.label == "Label").click().run()
    assert '<strong class="kalm-given" dir="auto">bees<' in html(page)
    page.file_uploader(key="texts_file").set_value(("new.csv", b"text\n=hive honey\nmoon\n", "text/csv")).run()
    page.button(key="predict").click().run()
    table = read_table(service.predictions(url(page)["table"]))
    assert [row[:2] for row in table.rows] == [("'=hive honey", "bees"), ("moon", "stars")]
    assert page.download_button(key="download").label


def test_a_corpus_is_labelled_by_long_work(open_page, service, tasks, work):
    service.save(OWNER, work, "topics", 0.0)
    page = open_page(step="use", classifier="topics")
    assert page.selectbox(key="apply_to").options == ["samples"]
    page.button(key="apply").click().run()
    (task,) = tasks.known.values()
    assert (task.kind, task.parameters) == ("classify.apply", {"classifier": "topics", "corpus": "samples"})
    tasks.becomes(task.id, state=TaskState.DONE, result={"counts": {"bees": 7, NASTY: 5}})
    page.run()
    assert "The documents of samples have their labels" in words(page)
    assert "<img" not in html(page)


def test_a_classifier_can_be_removed(open_page, service, work):
    service.save(OWNER, work, "topics", 0.0)
    page = open_page(step="use", classifier="topics")
    page.button(key="forget").click().run()
    assert service.classifiers() == []
    assert "No classifier yet" in words(page)


@pytest.mark.parametrize("work", ["0" * 16, "gone", "../../x"])
def test_work_that_is_gone_is_a_sentence(open_page, work):
    assert re.search("not there any more|Nothing has been learnt", words(open_page(step="train", work=work)))


def test_hostile_labels_and_texts_are_shown_and_never_obeyed(open_page, service):
    found = [
        Example(f"{NASTY} {word} {n}", label) for n in range(5) for word, label in (("a", NASTY), ("b", "b" * 190))
    ]
    work = service.begin(OWNER, found, [NASTY])
    service.train(OWNER, work)
    service.save(OWNER, work, "nasty", 0.0)
    for page in (open_page(step="train", work=work, pair="1.0"), open_page(step="use", classifier="nasty")):
        assert "<img" not in html(page)
        assert "\u202e" not in html(page)
        assert not page.markdown


def test_options_are_shown_letter_for_letter(open_page, service, work):
    service.save(OWNER, work, "my-classifier_1", 0.0)
    page = open_page(step="use")
    assert page.selectbox(key="classifier").options == ["my-classifier_1"]
    page = open_page(way="upload")
    page.file_uploader[0].set_value(("mine.csv", f"{EVIL},label\na,b\n".encode(), "text/csv")).run()
    assert page.selectbox(key="text_column").options == [EVIL, "label"]
    assert "<script>" not in html(page)
    found = [Example(f"{word} {n}", label) for n in range(5) for word, label in (("a", EVIL), ("b", "b"))]
    wrong = service.begin(OWNER, [*found, Example("b b", EVIL)], [])
    service.train(OWNER, wrong)
    page = open_page(step="train", work=wrong)
    assert f"{EVIL} → b (1)" in page.selectbox(key="pair").options
    assert "<script>" not in html(page)


def test_the_page_is_in_chinese_for_who_reads_chinese(open_page, work):
    page = open_page(locale="zh-CN", step="train", work=work)
    assert "混淆矩阵" in words(page)
    assert not re.search(r"classify\.\w", html(page))
    page.segmented_control(key="interface").set_value("en").run()
    assert "Confusion matrix" in words(page)
    assert url(page)["work"] == work
