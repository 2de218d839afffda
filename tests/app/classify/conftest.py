"""A classification service on a data folder of the test's own, with a model where meaning does not matter."""

import pytest

from app.bootstrap import Services
from app.services.access import OWNER
from app.services.classify.tables import Example
from app.settings import Settings

BEES = ["Bees dry nectar until it becomes honey.", "Honey is made by bees in a hive.", "A hive has one queen bee.",
        "Drones leave the hive in autumn.", "蜜蜂用花蜜酿造蜂蜜。"]  # fmt: skip
STARS = ["A black hole is a star that collapsed.", "The sun is a star of middle age.", "恒星坍缩后形成黑洞。",
         "Planets turn around a star.", "The moon turns around the earth."]  # fmt: skip


@pytest.fixture
def examples():
    """Five of each of two labels."""
    return [Example(text, "bees") for text in BEES] + [Example(text, "stars") for text in STARS]


@pytest.fixture(scope="session")
def encoders(tiny_model):
    """The model, loaded once."""
    from app.services.encoders import Encoders

    return Encoders(str(tiny_model))


@pytest.fixture
def installation(tmp_path, tiny_model, encoders):
    """Services of an empty data folder."""
    services = Services(Settings(data_dir=tmp_path / "data", model=str(tiny_model), qdrant_url=None))
    services.__dict__["encoders"] = encoders
    yield services
    services.close()


@pytest.fixture
def service(installation):
    """Classification."""
    return installation.classify


@pytest.fixture
def learnt(service, examples):
    """Id of work from which something was learnt."""
    work = service.begin(OWNER, examples, ["A queen bee.", "A red star."])
    service.train(OWNER, work)
    return work
