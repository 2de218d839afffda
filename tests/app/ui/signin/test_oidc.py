import pytest

from app.services.access import Forbidden, Person, Role
from app.settings import Settings
from app.ui.signin.oidc import person_by_claims

ROLES = {"ann@example.org": "admin", "editors": "editor", "readers": "viewer"}


def settings(**changes):
    return Settings(**({"oidc_roles": ROLES, "qdrant_url": None} | changes))


@pytest.mark.parametrize(
    ("claims", "changes", "person"),
    [
        ({"email": "ann@example.org"}, {}, Person("ann@example.org", Role.ADMIN)),
        ({"email": "bob@example.org"}, {"oidc_default_role": "viewer"}, Person("bob@example.org", Role.VIEWER)),
        ({"sub": "7", "groups": ["readers", "editors", 3]}, {"oidc_claim": "groups"}, Person("7", Role.EDITOR)),
        ({"email": "ann@example.org"}, {"oidc_default_role": "viewer"}, Person("ann@example.org", Role.ADMIN)),
    ],
)
def test_claims_give_the_highest_role_they_can(claims, changes, person):
    assert person_by_claims(claims, settings(**changes)) == person


@pytest.mark.parametrize(
    "claims",
    [{"email": "bob@example.org"}, {}, {"email": None}, {"email": "ann@example.org", "email_verified": False}],
)
def test_who_has_no_role_is_turned_away(claims):
    with pytest.raises(Forbidden, match="has no role here"):
        person_by_claims(claims, settings())
