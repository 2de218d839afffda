"""The OpenAPI document: it describes what there is, its examples run, and schemathesis finds it true."""

from types import SimpleNamespace

import pytest
import schemathesis
import schemathesis.engine
from rest_cases import LIMITS
from schemathesis.engine.events import FatalError, NonFatalError

from app.rest.application import PATHS, create_application
from app.services.access import Role

UNLISTED = {"/openapi.json"}

CONFIG = {
    "seed": 20506,
    "workers": 1,
    "generation": {"max-examples": 8, "deterministic": True, "database": "none"},
    "phases": {"stateful": {"enabled": False}},
    # The model alone knows its widths and tasks, and a blank question is a text too: 422 is right for these.
    "checks": {"positive_data_acceptance": {"expected-statuses": ["2xx", "404", "409", "422"]}},
}


async def document(client):
    return (await client.get("/openapi.json")).json()


async def test_it_describes_every_route_and_every_field(client):
    described = await document(client)
    assert set(described["paths"]) == PATHS - UNLISTED
    for path, methods in described["paths"].items():
        for operation in methods.values():
            assert operation["description"]
            assert bool(operation.get("security")) == (path not in ("/healthz", "/readyz"))
    for name in ("EmbeddingsBody", "SearchBody", "ClassifyBody"):
        schema = described["components"]["schemas"][name]
        assert schema["additionalProperties"] is False
        assert schema["examples"]


@pytest.mark.parametrize(
    ("path", "name"),
    [("/v1/embeddings", "EmbeddingsBody"), ("/v1/search", "SearchBody"), ("/v1/classify", "ClassifyBody")],
)
async def test_its_examples_run(client, path, name):
    for example in (await document(client))["components"]["schemas"][name]["examples"]:
        answer = await client.post(path, json=example)
        assert answer.status_code == 200, answer.text


def test_schemathesis_finds_it_true(installation, locked):
    header = {"Authorization": f"Bearer {locked.keys.add('schemathesis', Role.ADMIN)}"}
    config = schemathesis.Config.from_dict(CONFIG | {"headers": header})
    backend = SimpleNamespace(
        search=installation.search,
        vectors=installation.vectors,
        classify=installation.classify,
        keys=locked.keys,
    )
    application = create_application(lambda: backend, LIMITS)
    schema = schemathesis.openapi.from_asgi("/openapi.json", application, config=config, headers=header)
    cases, found = 0, []
    for event in schemathesis.engine.from_schema(schema).execute():
        if isinstance(event, NonFatalError | FatalError):
            found.append(str(event))
        if recorder := getattr(event, "recorder", None):
            cases += len(recorder.cases)
            checks = [check for checks in recorder.checks.values() for check in checks]
            found += [f"{recorder.label}: {check.failure_info.failure}" for check in checks if check.failure_info]
    assert found == []
    assert cases > 100
