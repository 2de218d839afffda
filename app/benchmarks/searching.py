"""How long a search takes, leg by leg."""

import itertools
import time
from typing import Any

from app.benchmarks.machine import machine, peak_memory_mib, percentiles
from app.bootstrap import Services
from indexer.catalog.documents import Documents
from indexer.search import Mode, SearchRequest


def bench_search(services: Services, corpus: str, queries: int) -> dict[str, Any]:
    """Ask a corpus about its own documents, in every mode, each question once.

    Raises:
        AppError: If the corpus is not there or not built.
    """
    info = services.corpora.one(corpus)
    titles = _titles(services, corpus, queries)
    # Titles of one question each would be few in a small corpus: the number keeps them apart, so that none comes
    # from the memory of earlier query vectors.
    asked = list(itertools.islice((f"{title} {n}" for n in itertools.count() for title in titles), queries))
    services.search.search(SearchRequest(corpus, "warm up"))
    modes = {mode.value: _measure(services, corpus, mode, [f"{text} {mode}" for text in asked]) for mode in Mode}
    return {
        "what": "warm search through the service, milliseconds",
        "corpus": {"documents": info.documents, "passages": info.chunks, "model": info.model},
        "queries": queries,
        "modes": modes,
        "peak_memory_mib": peak_memory_mib(),
        "machine": machine(),
    }


def _titles(services: Services, corpus: str, limit: int) -> list[str]:
    live = services.catalog.live_number(corpus)
    if live is None:
        return []
    return [one.title for one in Documents(services.catalog.database).beginnings(corpus, live, 0, limit)]


def _measure(services: Services, corpus: str, mode: Mode, asked: list[str]) -> dict[str, Any]:
    whole, encode, store = [], [], []
    for text in asked:
        start = time.perf_counter()
        page = services.search.search(SearchRequest(corpus, text, mode))
        whole.append(time.perf_counter() - start)
        encode.append(page.encode_seconds)
        store.append(page.store_seconds)
    return {"total": percentiles(whole), "encode": percentiles(encode), "store": percentiles(store)}
