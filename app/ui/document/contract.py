"""What the document page asks of the application, and nothing more."""

from typing import Protocol

from app.services.documents import DocumentView


class DocumentBackend(Protocol):
    """Shared by every session, so it must be thread-safe."""

    def view(
        self, corpus: str, document_id: str, passage_id: str = "", *, page: int | None = None, start: int | None = None
    ) -> DocumentView | None:
        """A document around a passage or another place; None where the corpus does not have it, or no longer."""
        ...

    def page_image(self, corpus: str, document_id: str, page: int) -> bytes:
        """The picture of a page as PNG; raises an AppError where there is none to be had."""
        ...

    def download(self, corpus: str, document_id: str) -> bytes:
        """The document's file; raises an AppError where it is not handed out."""
        ...
