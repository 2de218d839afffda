"""The whole search as mteb calls it: a corpus is read, cut, embedded and indexed, and its questions are searched.

What is measured is what users have: passages and their documents, the legs and their fusion, near-duplicates folded.
Questions are asked as they are, without operators. A search reaches 200 passages (``indexer.retrieval.ranking``), so
recall beyond that many is not to be had.
"""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq
from mteb.abstasks.task_metadata import TaskMetadata
from mteb.models import ModelMeta
from mteb.types import CorpusDatasetType, EncodeKwargs, PromptType, QueryDatasetType, RetrievalOutputType

from app.evaluation.encoder import entry
from app.evaluation.errors import EvaluationRefused
from app.services.encoders import Encoders
from app.services.indexing import IndexService
from embedder.cache import CachedEncoder, VectorCache
from embedder.prompts import PromptPolicy
from indexer.catalog.corpora import Catalog
from indexer.lexical import LexicalEncoder
from indexer.search import Mode, Searcher, SearchPage, SearchRequest
from indexer.stores.edge import EdgeEngine

_CORPUS = "task"
_ENCODED_AT_ONCE = 256


class SearchSystem:
    """Index and search in a temporary folder. Implements mteb's ``SearchProtocol``; use it as a context manager."""

    def __init__(self, model: str | None, mode: Mode) -> None:
        """Load the model.

        Args:
            model: Anything ``Embedder.load`` opens; None for the default.
            mode: By meaning, by words, or both.

        Raises:
            AppError: If there is no such model.
        """
        self._mode = mode
        self._encoders = Encoders(model)
        embedder = self._encoders.default()
        self.policy: PromptPolicy = embedder.prompts
        self._meta = entry(
            embedder.name,
            embedder.fingerprint,
            source=embedder.source,
            dims=embedder.dim,
            max_tokens=embedder.max_tokens,
            chosen={"system": mode.value},
        ).model_copy(update={"model_type": ["hybrid"]})
        self._folder = Path(tempfile.mkdtemp(prefix="kalm-eval-"))
        self._cache = VectorCache(self._folder / "vectors.sqlite")
        self._searcher: Searcher | None = None
        self._catalog: Catalog | None = None

    @property
    def mteb_model_meta(self) -> ModelMeta:
        """What results are filed under."""
        return self._meta

    def index(
        self,
        corpus: CorpusDatasetType,
        *,
        task_metadata: TaskMetadata,
        hf_split: str,
        hf_subset: str,
        encode_kwargs: EncodeKwargs,
        num_proc: int | None,
        **kwargs: object,
    ) -> None:
        """Build a corpus of the documents, in place of the one before; raises BuildRefused as any build does."""
        self._forget()
        place = self._folder / "corpus"
        place.mkdir()
        columns = {name: [row.get(name) or "" for row in corpus] for name in ("id", "title", "text")}
        pq.write_table(pa.table(columns), place / "corpus.parquet")
        self._catalog = Catalog(f"sqlite:///{place}/catalog.sqlite")
        engine, lexical = EdgeEngine(place / "indexes"), LexicalEncoder()
        self._catalog.add_corpus(_CORPUS, place, ["corpus.parquet"])
        IndexService(self._catalog, engine, self._encoders, lambda: self._cache, lexical, place / "locks").build(
            _CORPUS
        )
        self._searcher = Searcher(
            self._catalog,
            engine,
            lexical,
            lambda manifest: CachedEncoder(self._encoders.of(manifest), self._cache, queries=True),
        )

    def search(
        self,
        queries: QueryDatasetType,
        *,
        task_metadata: TaskMetadata,
        hf_split: str,
        hf_subset: str,
        top_k: int,
        encode_kwargs: EncodeKwargs,
        top_ranked: Mapping[str, list[str]] | None = None,
        num_proc: int | None,
        **kwargs: object,
    ) -> RetrievalOutputType:
        """Ids of the best documents of each query, with falling numbers for scores: the order is what counts.

        Raises:
            EvaluationRefused: If candidates are given, or nothing is indexed.
        """
        if top_ranked is not None:
            raise EvaluationRefused(
                f"{task_metadata.name} gives each query its candidates, and a search chooses its own; leave it out."
            )
        if self._searcher is None:
            raise EvaluationRefused("Nothing is indexed yet; give the documents to index first.")
        asked = list(zip(queries["id"], queries["text"], strict=True))
        if self._mode is not Mode.KEYWORD:
            self._encode([text for _, text in asked])
        return {
            str(id_): {key: 1 / rank for rank, key in enumerate(islice(self._found(text, top_k), top_k), start=1)}
            for id_, text in asked
        }

    def close(self) -> None:
        """Let go of the index and remove the folder."""
        self._forget()
        self._cache.close()
        shutil.rmtree(self._folder)

    def __enter__(self) -> Self:
        """The system itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def _encode(self, queries: list[str]) -> None:
        """Put the questions' vectors into the cache, many at a time, which takes less than one after the other."""
        encoder = CachedEncoder(self._encoders.default(), self._cache, queries=True)
        for start in range(0, len(queries), _ENCODED_AT_ONCE):
            encoder.encode_queries(queries[start : start + _ENCODED_AT_ONCE])

    def _found(self, query: str, count: int) -> Iterator[str]:
        """Ids of documents, best first; a near-duplicate right after the result that stands for it, each once."""
        assert self._searcher is not None  # noqa: S101 - search has looked
        if not query.strip():
            return iter(())
        request = SearchRequest(_CORPUS, query, self._mode, page_size=count, operators=False)
        return iter(dict.fromkeys(_keys(self._searcher.search(request))))

    def _forget(self) -> None:
        if self._searcher is not None:
            self._searcher.close()
            self._searcher = None
        if self._catalog is not None:
            self._catalog.close()
            self._catalog = None
        shutil.rmtree(self._folder / "corpus", ignore_errors=True)


class SystemPrompts:
    """What index and search put before texts: those of retrieval, whatever the task is called."""

    def __init__(self, policy: PromptPolicy) -> None:
        self._policy = policy

    def __call__(self, task: TaskMetadata, prompt_type: PromptType | None, /) -> str:
        """The exact string."""
        return self._policy.prompt("document" if prompt_type is PromptType.document else "query", "Retrieval")


def _keys(page: SearchPage) -> Iterator[str]:
    for result in page.results:
        yield result.key
        yield from (duplicate.key for duplicate in result.duplicates)
