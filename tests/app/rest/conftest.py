"""One installation with a small corpus, and a client on its machine."""

import os
from unittest import mock

import pytest
from rest_cases import FILES, LIMITS, connect

from app.bootstrap import Services
from app.rest.application import create_application
from app.settings import Settings


@pytest.fixture(scope="session")
def installation(tmp_path_factory, tiny_model, write):
    """Services of a data folder with the corpus ``samples``, built, and ``empty``, not built. Tests only read it."""
    folder = tmp_path_factory.mktemp("installation")
    services = Services(Settings(data_dir=folder / "data", model=str(tiny_model), qdrant_url=None))
    services.corpora.add("samples", write(folder / "samples", **FILES))
    services.corpora.add("empty", folder / "samples")
    with mock.patch.object(os, "nice"):  # there is no way back up, and other tests follow in this process
        services.indexing.build("samples")
    yield services
    services.close()


@pytest.fixture
def locked(tmp_path, tiny_model, installation):
    """An installation of the test's own, empty, for keys; it shares the model."""
    services = Services(Settings(data_dir=tmp_path / "locked", model=str(tiny_model), qdrant_url=None))
    services.__dict__["encoders"] = installation.encoders
    yield services
    services.close()


@pytest.fixture(scope="session")
def application(installation):
    """The REST interface of the installation."""
    return create_application(lambda: installation, LIMITS)


@pytest.fixture
async def client(application):
    """A program on this machine."""
    async with connect(application) as opened:
        yield opened
