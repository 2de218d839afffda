"""Bodies and answers. Their fields are the OpenAPI document."""

import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import date, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from app.rest.errors import UNKNOWN_FIELD, TooMuch
from app.rest.limits import Limits
from app.services.corpora import CorpusInfo
from app.services.vectors import SERVED, VectorRequest
from indexer.retrieval.fusion import BALANCED
from indexer.search import Example, Facets, Mode, SearchPage, SearchRequest, SearchResult

_ISO_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_UNDETERMINED = "und"
"""ISO 639-3 code for documents whose language is not known; an empty string in the index."""


def _whole(value: Any) -> Any:  # noqa: ANN401 - whatever came, judged afterwards
    """A text as it can be encoded: half a surrogate pair, which JSON can hold, becomes U+FFFD."""
    if not isinstance(value, str) or value.isascii():
        return value
    return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _name(value: Any) -> Any:  # noqa: ANN401 - whatever came, judged afterwards
    """A name as a database can hold it: without NUL."""
    whole = _whole(value)
    return whole.replace("\0", "\N{REPLACEMENT CHARACTER}") if isinstance(whole, str) else whole


def _texts(value: Any) -> Any:  # noqa: ANN401 - whatever came, judged here
    if isinstance(value, str):
        return _whole(value)
    if not isinstance(value, list) or not value:
        raise ValueError("The field input should be a text or a list of at least one text.")
    if not all(isinstance(item, str) for item in value):
        if all(isinstance(item, int | list) for item in value):
            raise ValueError("The field input holds tokens, which belong to another model; send the texts themselves.")
        raise ValueError("The field input should be a text or a list of texts, and nothing else in the list.")
    return [_whole(item) for item in value]


def _day(value: Any) -> Any:  # noqa: ANN401 - whatever came, judged here
    if value is None or (isinstance(value, str) and _ISO_DAY.fullmatch(value)):
        with suppress(ValueError):  # the 31st of February
            return value and date.fromisoformat(value)
    raise ValueError("The days of a search are written as 2024-01-31.")


Name = Annotated[str, BeforeValidator(_name)]
Whole = Annotated[str, BeforeValidator(_whole)]
Texts = Annotated[str | Annotated[list[str], Field(min_length=1)], BeforeValidator(_texts)]
FileType = Annotated[str, Field(pattern=r"^[a-z0-9]{1,16}$")]
Day = Annotated[date, BeforeValidator(_day)]
DocumentId = Annotated[str, Field(pattern=r"^[0-9a-fA-F-]{36}$")]
Language = Annotated[str, Field(pattern=r"^[a-z]{2,3}$")]


class RequestBody(BaseModel):
    """What comes in: exactly these fields, of exactly these types."""

    model_config = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _no_others(cls, value: Any) -> Any:  # noqa: ANN401 - whatever came, judged here
        """Stop at the first unknown field: there may be very many, each of which would be an error of its own."""
        unknown = (
            next((name for name in value if name not in cls.model_fields), None) if isinstance(value, dict) else None
        )
        if unknown is not None:
            raise PydanticCustomError(UNKNOWN_FIELD, "There is no such field.", {"field": _whole(unknown)})
        return value


class Answer(BaseModel):
    """What goes out."""

    model_config = ConfigDict(from_attributes=True, use_attribute_docstrings=True)


class EmbeddingsBody(RequestBody):
    """Texts to embed: OpenAI's fields, and three of our own."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"input": "Bees dry nectar until it becomes honey."},
                {
                    "input": ["how do bees make honey"],
                    "side": "query",
                    "task": "Retrieval",
                    "encoding_format": "base64",
                },
            ]
        }
    )

    input: Texts
    """One text, or several."""
    model: Annotated[Name, Field(max_length=256)] = SERVED
    """Name of the model that is served, or ``default`` for whichever it is; another is refused."""
    dimensions: Annotated[int, Field(ge=1, le=65536)] | None = None
    """One of the model's widths; the widest where it is left out."""
    encoding_format: Literal["float", "base64"] = "float"
    """Numbers, or the bytes of little-endian float32 in base64."""
    user: Annotated[str, BeforeValidator(_whole)] | None = None
    """Taken because OpenAI's clients may send it, and not looked at."""
    task: Annotated[str, BeforeValidator(_whole), Field(max_length=128)] = "Retrieval"
    """An MTEB task type (Retrieval, STS, Classification, Clustering, ...) or the name of a task."""
    side: Literal["query", "document"] = "document"
    """Which side of the task the texts stand on; only queries carry an instruction."""
    instruction: Annotated[str, BeforeValidator(_whole), Field(max_length=4000)] | None = None
    """Your own instruction for queries, in place of the task's."""

    def request(self, limits: Limits) -> VectorRequest:
        """What is asked of the model.

        Raises:
            TooMuch: If there are too many texts, or one is too long.
        """
        texts = bounded(self.input, limits)
        return VectorRequest(texts, self.model, self.dimensions, self.side, self.task, self.instruction)


def bounded(given: str | list[str], limits: Limits) -> list[str]:
    """One text or several as a list.

    Raises:
        TooMuch: If there are too many, or one is too long.
    """
    texts = [given] if isinstance(given, str) else given
    if len(texts) > limits.texts:
        raise TooMuch(f"These are {len(texts):,} texts; send at most {limits.texts:,} at once.")
    longest = max(map(len, texts))
    if longest > limits.characters:
        raise TooMuch(
            f"The longest of these texts has {longest:,} characters; send at most {limits.characters:,} of each."
        )
    return texts


class Embedding(Answer):
    """The vector of one text."""

    object: Literal["embedding"]
    index: int
    """Place of the text in the input, from 0."""
    embedding: list[float] | str
    """A vector of length 1, as numbers or in base64."""


class Usage(Answer):
    """What it took."""

    prompt_tokens: int
    """Tokens the model read, instructions included."""
    total_tokens: int


class Maker(Answer):
    """What makes vectors what they are: those of one width are the same where this is."""

    fingerprint: str
    """Changes when weights, tokenizer or prompts do."""
    dtype: str
    """Arithmetic of the model."""
    max_tokens: int
    """Longest input; the rest is cut off."""
    prompt: str
    """What was put before each text."""


class EmbeddingsAnswer(Answer):
    """Vectors in the order of the texts: OpenAI's fields, and one of our own."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: Usage
    maker: Maker


class LabelBody(RequestBody):
    """A label of a set that a map or a classifier made."""

    set: Annotated[Name, Field(min_length=1, max_length=200)]
    """Name of the set."""
    label: Annotated[Name, Field(max_length=200)]


class SearchBody(RequestBody):
    """A question to a corpus."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"corpus": "samples", "query": "how do bees make honey"},
                {"corpus": "samples", "query": "蜜蜂如何酿蜜", "mode": "keyword", "page_size": 3, "languages": ["zh"]},
            ]
        }
    )

    corpus: Annotated[Name, Field(min_length=1, max_length=64)]
    """Name of the corpus; GET /v1/corpora lists them."""
    query: Annotated[str, BeforeValidator(_whole), Field(max_length=4000)]
    """A question or a few words, in English or Chinese; may be empty where like or text says what to look for."""
    mode: Literal["hybrid", "semantic", "keyword"] = "hybrid"
    """By meaning, by words, or both."""
    operators: bool = True
    """Whether quotes, minus and fields in the query mean something (docs/search.md); off for text as it stands."""
    page: Annotated[int, Field(ge=1, le=1000)] = 1
    page_size: Annotated[int, Field(ge=1, le=100)] = 10
    """Documents on a page."""
    file_types: Annotated[list[FileType], Field(max_length=32, fail_fast=True)] = []
    """Only documents of these types (markdown, pdf, ...); all where it is empty."""
    languages: Annotated[list[Language], Field(max_length=32, fail_fast=True)] = []
    """Only documents in these languages (en, zh, ...; und where none is known); all where it is empty."""
    balance: Annotated[float, Field(ge=0, le=1)] = BALANCED
    """What meaning counts in a hybrid search; words count the rest."""
    folders: Annotated[list[Name], Field(max_length=32)] = []
    """Only documents in these folders of the corpus, or below them; all where it is empty."""
    authors: Annotated[list[Name], Field(max_length=32)] = []
    """Only documents of these authors, by their whole names; all where it is empty."""
    labels: Annotated[list[LabelBody], Field(max_length=32)] = []
    """Only what has one of these labels, of each set that is named; all where it is empty."""
    after: Day | None = None
    """Only documents of this day (2024-01-31) or later."""
    before: Day | None = None
    """Only documents of an earlier day."""
    diverse: bool = False
    """Whether results are to differ from each other, too."""
    like: Annotated[list[DocumentId], Field(max_length=32)] = []
    """document_id of results that others should be like; they are no results themselves."""
    unlike: Annotated[list[DocumentId], Field(max_length=32)] = []
    """document_id of results that others should not be like."""
    text: Annotated[str, BeforeValidator(_whole), Field(max_length=100_000)] = ""
    """A whole text as the question, in place of the words of the query, whose conditions hold."""

    def request(self) -> SearchRequest:
        """What is asked of the index."""
        return SearchRequest(
            corpus=self.corpus,
            query=self.query,
            mode=Mode(self.mode),
            operators=self.operators,
            page=self.page,
            page_size=self.page_size,
            file_types=frozenset(self.file_types),
            languages=frozenset("" if code == _UNDETERMINED else code for code in self.languages),
            balance=self.balance,
            folders=frozenset(self.folders),
            authors=frozenset(self.authors),
            labels=frozenset((label.set, label.label) for label in self.labels),
            after=self.after,
            before=self.before,
            diverse=self.diverse,
            like=tuple(self.like),
            unlike=tuple(self.unlike),
            text=self.text,
        )


class SearchAnswer(Answer):
    """One page of results, the best passage of each document, best first."""

    results: list[SearchResult]
    has_more: bool
    """Whether a further page would show anything."""
    scored_by: Mode
    """What the scores are: the mode asked for, or its one leg that had anything to go by."""
    facets: Facets
    """How many of the documents found have each value; 0 where only others of the corpus do."""
    examples: list[Example]
    """The documents of like and unlike that the index has."""
    encode_seconds: float
    store_seconds: float

    @classmethod
    def of(cls, page: SearchPage) -> Self:
        """A page as an answer."""
        return cls.model_validate(page)


class CorpusAnswer(Answer):
    """One corpus."""

    name: str
    documents: int
    """Documents that can be searched."""
    passages: int
    """How many passages they were cut into."""
    model: str
    """Name of the model it was built with; empty before the first build."""
    failed_files: int
    """Files that could not be read when it was built."""
    updated: datetime | None
    """When it was last built."""
    searchable: bool
    """False before the first build."""


class CorporaAnswer(Answer):
    """Every corpus by name."""

    corpora: list[CorpusAnswer]

    @classmethod
    def of(cls, corpora: Sequence[CorpusInfo]) -> Self:
        """Corpora as an answer: where they are on the disk is nobody's business."""
        return cls(
            corpora=[
                CorpusAnswer(
                    name=corpus.name,
                    documents=corpus.documents,
                    passages=corpus.chunks,
                    model=corpus.model,
                    failed_files=corpus.failed_files,
                    updated=corpus.updated,
                    searchable=corpus.searchable,
                )
                for corpus in corpora
            ]
        )


class State(Answer):
    """That all is well."""

    status: Literal["ok"]


class Failure(Answer):
    """What went wrong."""

    message: str
    """What happened and what to do, in one sentence."""
    type: str
    param: str | None
    """The field at fault."""
    code: str | None
    """What a program can tell it by."""


class FailureAnswer(Answer):
    """Every failure looks like this."""

    error: Failure
