"""Who asks, and what they may do. Services check it, not the menus."""

from dataclasses import dataclass
from enum import StrEnum

from embedder.errors import AppError


class Role(StrEnum):
    """What somebody may do; each may also do what the ones before it may."""

    VIEWER = "viewer"
    EDITOR = "editor"
    ADMIN = "admin"

    def covers(self, needed: "Role") -> bool:
        """Whether this role may do what ``needed`` may."""
        order = list(Role)
        return order.index(self) >= order.index(needed)


class Forbidden(AppError):
    """Somebody asks for what their role does not allow."""


@dataclass(frozen=True, slots=True)
class Person:
    """Whoever is at the page or at the command line.

    Attributes:
        name: What they are called in notes and in the audit log.
        role: What they may do.
    """

    name: str
    role: Role

    def must_be(self, needed: Role) -> None:
        """Refuse what needs more than this person's role.

        Raises:
            Forbidden: If the role does not cover it.
        """
        if not self.role.covers(needed):
            raise Forbidden(f"This needs the role {needed}, and {self.name} is {self.role}; ask an admin.")


OWNER = Person("owner", Role.ADMIN)
"""Who uses the command line, or the page while nobody has to sign in: whoever has the data folder may do everything."""
