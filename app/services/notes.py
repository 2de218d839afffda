"""What people leave behind at the search page: questions asked, searches saved, results judged."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from app.services.access import Person, Role
from app.services.golden import Exported, write_mteb, write_pairs
from app.services.terms import SAMPLED_CHARACTERS, SAMPLED_DOCUMENTS, TermList, collect
from embedder.errors import AppError
from indexer.catalog.corpora import Catalog
from indexer.catalog.documents import Documents
from indexer.catalog.note_tables import Judgment, NoteRefused, NoteTable, PastQuery, SavedSearch
from indexer.retrieval.remembered import Remembered
from indexer.search import SearchPage, SearchRequest, SearchResult
from indexer.upkeep.gate import GoldenQuery

_SEEN_DOCUMENTS = 100
"""Documents of a saved search that are looked at when it is run again."""

_NEW_AMONG = 10
"""A new document is a match worth a mark if it is among the first of them: meaning is never quite without likeness."""

_REMEMBERED_SEEN = 500
_CHECKED_AT_ONCE = 3
"""Saved searches run again for one listing; the others have their turn with the next."""

_LONGEST_QUERY = 1_000
_LONGEST_NAME = 120
_LISTED_QUERIES = 8
_REMEMBERED_CORPORA = 16

_Request = TypeAdapter(SearchRequest)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Suggestions:
    """What somebody may want to ask.

    Attributes:
        recent: Questions they asked, the latest first.
        frequent: Words the corpus is about, the most frequent first.
    """

    recent: tuple[PastQuery, ...]
    frequent: tuple[str, ...]


class NoteService:
    """The notes of everybody. Safe between threads. Everyone may keep notes of their own; they change no corpus."""

    def __init__(
        self, catalog: Catalog, table: NoteTable, documents: Documents, search: Callable[[SearchRequest], SearchPage]
    ) -> None:
        """Wire the parts.

        Args:
            catalog: Says which generation is live.
            table: Where notes are kept.
            documents: Where the words of a corpus are.
            search: Runs a saved search again.
        """
        self._catalog = catalog
        self._table = table
        self._documents = documents
        self._search = search
        self._terms: Remembered[tuple[str, int], TermList] = Remembered(_REMEMBERED_CORPORA)

    def record(self, person: Person, request: SearchRequest, state: Mapping[str, Any]) -> None:
        """Remember that somebody asked this; what is too long to be asked again by a click is not kept.

        Args:
            person: Who asked.
            request: What.
            state: The parameters of the page's address.
        """
        query = _cleaned(request.query)
        if query and len(query) <= _LONGEST_QUERY:
            self._table.remember(person.name, request.corpus, query, state)

    def forget_history(self, person: Person, corpus: str) -> None:
        """Forget all of somebody's questions to a corpus."""
        self._table.forget_history(person.name, corpus)

    def suggestions(self, person: Person, corpus: str, prefix: str = "") -> Suggestions:
        """What somebody may want to ask, by what they asked before and what the corpus is about.

        Args:
            person: Who.
            corpus: Its name.
            prefix: What it has to begin with; empty allows everything.

        Raises:
            CatalogError: If there is no such corpus.
        """
        wanted = prefix.strip().casefold()
        past = [each for each in self._table.history(person.name, corpus) if each.query.casefold().startswith(wanted)]
        return Suggestions(
            tuple(past[:_LISTED_QUERIES]), tuple(self._terms_of(corpus).beginning_with(prefix, _LISTED_QUERIES))
        )

    def did_you_mean(self, corpus: str, query: str, results: Sequence[SearchResult]) -> str | None:
        """The question with mistyped words put right, or None where all are known or stand in what was found.

        Raises:
            CatalogError: If there is no such corpus.
        """
        if len(query) > _LONGEST_QUERY:
            return None
        return self._terms_of(corpus).correction(query, [f"{each.title}\n{each.text}" for each in results])

    def save(self, person: Person, name: str, request: SearchRequest, state: Mapping[str, Any]) -> SavedSearch:
        """Keep a search, with what it finds now as known.

        Args:
            person: Whose it is.
            name: What to call it; one of the same name is replaced.
            request: What is asked.
            state: The parameters of the page's address.

        Raises:
            NoteRefused: If it has no name, or there are too many already.
            AppError: If it cannot be asked.
        """
        name = _cleaned(name)[:_LONGEST_NAME].strip()
        if not name:
            raise NoteRefused("A saved search needs a name; type one.")
        request = replace(request, page=1, page_size=_SEEN_DOCUMENTS)
        live = self._catalog.live_number(request.corpus)
        found = tuple(result.document_id for result in self._search(request).results)
        asked = _Request.dump_python(request, mode="json")
        return self._table.save(
            person.name, SavedSearch(0, request.corpus, name, state, asked, seen=found, checked=live)
        )

    def saved(self, person: Person) -> list[SavedSearch]:
        """Somebody's searches; those whose index has changed since are run again first, a few at a time."""
        found: list[SavedSearch] = []
        left = _CHECKED_AT_ONCE
        for search in self._table.saved(person.name):
            if left and self._is_stale(search):
                search = self._checked(person, search)
                left -= 1
            found.append(search)
        return found

    def look(self, person: Person, corpus: str, state: Mapping[str, Any]) -> frozenset[str]:
        """Somebody opens an address: if it is that of a saved search, its new matches are no longer unread.

        Args:
            person: Who.
            corpus: Its name.
            state: The parameters of the address.

        Returns:
            Ids of the documents that it found anew when its index last changed.
        """
        mine = (each for each in self._table.saved(person.name) if (each.corpus, dict(each.state)) == (corpus, state))
        search = next(mine, None)
        if search is None:
            return frozenset()
        if self._is_stale(search):
            search = self._checked(person, search)
        if search.unread:
            self._table.update_saved(person.name, replace(search, unread=False))
        return frozenset(search.fresh)

    def forget_saved(self, person: Person, id: int) -> None:
        """Forget a saved search; raises NoteRefused if there is none of that number."""
        self._table.drop_saved(person.name, id)

    def judge(self, person: Person, corpus: str, query: str, result: SearchResult, grade: int | None) -> None:
        """Write down how well a result answers a question.

        Args:
            person: Who says so.
            corpus: Where it was found.
            query: The question as it was typed.
            result: What was found.
            grade: 0 for not at all, up to 3 the better it does; None takes back what the person said before.

        Raises:
            NoteRefused: If the grade is another number, or the question is empty or too long.
            CatalogError: If there is no such corpus, or it has no index.
        """
        asked = _cleaned(query)
        if grade is None:
            self._table.withdraw(person.name, corpus, asked, result.chunk_id)
            return
        if grade not in range(4) or not asked or len(asked) > _LONGEST_QUERY:
            raise NoteRefused(f"A judgment is 0 to 3 on a question of up to {_LONGEST_QUERY:,} characters.")
        live = self._catalog.live_number(corpus) or 0
        manifest = self._catalog.generation(corpus, live).manifest
        self._table.judge(
            Judgment(
                person=person.name,
                corpus=corpus,
                query=asked,
                document_id=result.document_id,
                passage_id=result.chunk_id,
                uri=result.uri,
                title=result.title,
                text=result.text,
                grade=grade,
                generation=live,
                model=manifest.model,
                created=datetime.now(UTC),
            )
        )

    def judged(self, person: Person, corpus: str, query: str) -> dict[str, int]:
        """The grades somebody gave to answers to a question, by passage id."""
        return self._table.judged(person.name, corpus, _cleaned(query))

    def export_pairs(self, person: Person, corpus: str, target: Path) -> Exported:
        """Write everybody's judgments of a corpus as rows to train on (:func:`app.services.golden.write_pairs`).

        Raises:
            Forbidden: If the person is no editor: it shows what others asked.
            CatalogError: If there is no such corpus.
            ExportRefused: If there is nothing to write, or nowhere.
        """
        return write_pairs(self._judgments(person, corpus), target)

    def export_mteb(self, person: Person, corpus: str, target: Path) -> Exported:
        """Write them as a retrieval task over all passages of the index (:func:`app.services.golden.write_mteb`).

        Raises:
            AppError: As above.
        """
        judged = self._judgments(person, corpus)
        live = self._catalog.live_number(corpus)
        return write_mteb(judged, () if live is None else self._documents.all(corpus, live), target)

    def _judgments(self, person: Person, corpus: str) -> list[Judgment]:
        person.must_be(Role.EDITOR)
        self._catalog.corpus(corpus)
        return self._table.judgments(corpus)

    def golden(self, corpus: str) -> list[GoldenQuery]:
        """Judged questions for the quality gate, each with a file that answers it.

        Files that the newest finished version no longer has are left out: nobody can find them there.

        Raises:
            CatalogError: If there is no such corpus.
        """
        self._catalog.corpus(corpus)
        newest = next(iter(self._catalog.generations(corpus)), None)
        files = {} if newest is None else self._catalog.files(corpus, newest.number)
        judged = self._table.judgments(corpus)
        pairs = {(each.query, each.uri): None for each in judged if each.is_relevant and each.uri in files}
        return [GoldenQuery(query, uri) for query, uri in pairs]

    def _terms_of(self, corpus: str) -> TermList:
        live = self._catalog.corpus(corpus).live
        if live is None:
            return collect(())
        return self._terms.get(
            (corpus, live),
            lambda: collect(self._documents.beginnings(corpus, live, SAMPLED_CHARACTERS, SAMPLED_DOCUMENTS)),
        )

    def _is_stale(self, search: SavedSearch) -> bool:
        return self._catalog.live_number(search.corpus) not in (None, search.checked)

    def _checked(self, person: Person, search: SavedSearch) -> SavedSearch:
        """Run a saved search again and keep what is new; one that cannot be run stays as it is."""
        live = self._catalog.live_number(search.corpus)
        try:
            page = self._search(_Request.validate_python(search.request, strict=False))
        except (AppError, ValidationError) as error:
            log.warning("The saved search %s cannot be run again: %s", search.id, error)
            return search
        after = _after(search, [result.document_id for result in page.results], live)
        self._table.update_saved(person.name, after)
        return after


def _after(search: SavedSearch, found: Sequence[str], live: int | None) -> SavedSearch:
    """A saved search once it was run again: what nobody looked at stays new."""
    new = [each for each in found[:_NEW_AMONG] if each not in search.seen]
    waiting = [each for each in search.fresh if search.unread and each in found]
    fresh = tuple(dict.fromkeys((*new, *waiting)))
    seen = tuple(dict.fromkeys((*found, *search.seen)))[:_REMEMBERED_SEEN]
    return replace(search, seen=seen, fresh=fresh, unread=bool(fresh) and (search.unread or bool(new)), checked=live)


def _cleaned(text: str) -> str:
    """One line of what can be stored: no control characters, no halves of surrogate pairs."""
    kept = "".join(" " if ord(each) < 32 or 0x7F <= ord(each) <= 0x9F else each for each in text)
    return " ".join(kept.encode("utf-8", "ignore").decode().split())
