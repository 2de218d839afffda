import pytest
from rest_cases import LIMITS, connect, refusal, stand_in

from app.rest.application import create_application
from app.services.access import OWNER
from app.services.classify.classifiers import ClassifierDamaged, Label
from app.services.classify.service import ClassifyRequest
from app.services.encoders import WrongModel

LABELS = [{"name": "bees", "description": "insects that make honey"}, {"name": "tea"}, {"name": "蜂蜜"}]
TEXTS = ["Bees dry nectar.", "Tea against coughs.", "蜜蜂酿造蜂蜜。", ""]


@pytest.fixture(scope="module")
def saved(installation):
    """A classifier of the installation."""
    labels = [Label(one["name"], one.get("description", "")) for one in LABELS]
    return installation.classify.save_described(OWNER, "topics", labels, 0.0)


async def ask(client, **body):
    answer = await client.post("/v1/classify", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_labels_described_on_the_spot(client, installation):
    found = await ask(client, labels=LABELS, input=TEXTS)
    labels = [Label(one["name"], one.get("description", "")) for one in LABELS]
    expected = installation.classify.classify(ClassifyRequest(TEXTS, labels=labels)).predictions
    assert (found["classifier"], found["version"], found["threshold"]) == (None, None, 0)
    assert [one["index"] for one in found["results"]] == [0, 1, 2, 3]
    for shown, one in zip(found["results"], expected, strict=True):
        assert (shown["label"], shown["abstained"]) == (one.label, False)
        assert shown["score"] == pytest.approx(one.score, abs=1e-3)
        assert shown["score"] - shown["scores"][1]["score"] == pytest.approx(shown["margin"])
        assert sum(score["score"] for score in shown["scores"]) == pytest.approx(1)
        assert {score["label"] for score in shown["scores"]} == {"bees", "tea", "蜂蜜"}


async def test_a_saved_classifier_says_the_same(client, saved):
    there = await ask(client, labels=LABELS, input=TEXTS[0])
    found = await ask(client, classifier="topics", input=TEXTS[0])
    assert (found["classifier"], found["version"]) == ("topics", saved.version)
    assert found["results"][0]["label"] == there["results"][0]["label"]


async def test_below_the_threshold_no_label_is_given(client):
    found = await ask(client, labels=LABELS, input=TEXTS, threshold=1)
    assert all(one["abstained"] and one["label"] is None and one["score"] < 1 for one in found["results"])


@pytest.mark.parametrize(
    ("body", "status", "code", "param", "words"),
    [
        ({"input": "a"}, 422, None, None, 'either a "classifier" or the "labels"'),
        ({"input": "a", "classifier": "topics", "labels": LABELS}, 422, None, None, "one of the two"),
        ({"input": "a", "classifier": "topics", "instruction": "b"}, 422, None, None, "leave yours out"),
        ({"input": "a", "classifier": "gone"}, 404, "classifier_not_found", None, "There is no classifier gone"),
        ({"input": "a", "classifier": "../../etc"}, 404, "classifier_not_found", None, "There is no classifier ../"),
        ({"input": "a", "labels": LABELS[:1]}, 422, None, "labels", "is wrong"),
        ({"input": "a", "labels": [LABELS[0]] * 2}, 422, None, None, "The label bees is there twice"),
        ({"input": "a", "labels": [{"name": " "}, {"name": "b"}]}, 422, None, None, "at least two labels"),
        ({"input": [], "labels": LABELS}, 422, None, "input", "at least one text"),
        ({"input": "a", "labels": LABELS, "threshold": 2}, 422, None, "threshold", "is wrong"),
        ({"input": ["a"] * 301, "labels": LABELS}, 422, "too_much", None, "301 texts"),
        ({"input": "a" * 5001, "labels": LABELS}, 422, "too_much", None, "5,001 characters"),
    ],
)
async def test_what_cannot_be_asked_is_refused_in_one_sentence(client, saved, body, status, code, param, words):
    assert words in refusal(await client.post("/v1/classify", json=body), status, code, param)


@pytest.mark.parametrize(
    ("error", "status", "code"), [(WrongModel, 409, "model_changed"), (ClassifierDamaged, 503, "unavailable")]
)
async def test_errors_fit_for_a_user_keep_their_sentence(error, status, code):
    def classify(request, is_abandoned):
        raise error("The classifier is of another model; train it again.")

    backend = stand_in(classify=classify)
    async with connect(create_application(lambda: backend, LIMITS)) as client:
        answer = await client.post("/v1/classify", json={"input": "a", "classifier": "topics"})
    assert refusal(answer, status, code) == "The classifier is of another model; train it again."
