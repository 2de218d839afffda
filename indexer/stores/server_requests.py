"""Requests to a Qdrant server: sent again where that helps, and one sentence where it does not."""

import random
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from json import JSONDecodeError
from pathlib import Path
from typing import Literal, ParamSpec, TypeVar
from urllib.parse import urlsplit

from qdrant_client.common.client_exceptions import QdrantException, ResourceExhaustedResponse
from qdrant_client.http.exceptions import ApiException, ResponseHandlingException, UnexpectedResponse

from indexer.stores.protocol import StoreError

_P = ParamSpec("_P")
_T = TypeVar("_T")
_FAILURES = (ApiException, QdrantException, JSONDecodeError)
_FIRST_SECONDS = 0.25
_LONGEST_SECONDS = 8.0
_LONGEST_RETRY_AFTER = 30.0
_PROMPT_TRIES = 3
_PATIENT_TRIES = 7
"""Waits of up to 0.25, 0.5, 1, 2, 4 and 8 seconds: enough for a server to be restarted."""


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """Where the server is, and how collections are made on it.

    Attributes:
        url: ``http://`` or ``https://``; the port is 6333 where it names none.
        api_key: Sent with every request and shown nowhere.
        ca_file: Certificates to trust instead of the system's (PEM).
        prefix: Before the name of every collection and alias, for installations that share a server.
        quantization: What vectors are searched by first; the best are scored again with the full ones.
        is_strict: Whether the server refuses costly requests: unindexed filters, huge batches and result lists.
        search_seconds: Time for the answer to a search, or to a question about a collection.
        write_seconds: Time for the answer to anything that writes, or reads much.
    """

    url: str
    api_key: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    prefix: str = ""
    quantization: Literal["none", "int8", "binary"] = "none"
    is_strict: bool = False
    search_seconds: int = 10
    write_seconds: int = 60

    @property
    def address(self) -> str:
        """The server as messages name it: without a password that may be in its url."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


class Requests:
    """Sends requests until they are answered, within reason.

    Whatever is sent here may be sent twice: nobody knows whether a request whose answer was lost was carried out.
    """

    def __init__(self, config: ServerConfig) -> None:
        self._config = config

    def patient(self, send: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """For builds: survives the restart of a server.

        Raises:
            StoreError: If the server refuses, or stays away.
        """
        return self._send(_PATIENT_TRIES, lambda: send(*args, **kwargs))

    def prompt(self, send: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """For searches, where a person waits.

        Raises:
            StoreError: If the server refuses, or stays away.
        """
        return self._send(_PROMPT_TRIES, lambda: send(*args, **kwargs))

    def _send(self, tries: int, send: Callable[[], _T]) -> _T:
        for number in range(1, tries):
            try:
                return send()
            except _FAILURES as error:
                if not _is_passing(error):
                    raise self._explained(error) from error
                time.sleep(_wait_seconds(error, number))
        try:
            return send()
        except _FAILURES as error:
            raise self._explained(error) from error

    def _explained(self, error: Exception) -> StoreError:
        address = self._config.address
        if isinstance(error, ResponseHandlingException):
            reason = str(error.source).partition("\n")[0] or type(error.source).__name__
            return StoreError(
                f"The Qdrant server at {address} does not answer as it should ({reason}); check that it runs, "
                "then KALM_QDRANT_URL."
            )
        if isinstance(error, JSONDecodeError):
            return StoreError(f"What answers at {address} is no Qdrant server; check KALM_QDRANT_URL.")
        if not isinstance(error, UnexpectedResponse):
            return StoreError(f"The Qdrant server at {address} takes no more requests for now; try again later.")
        if error.status_code in (401, 403):
            return StoreError(f"The Qdrant server at {address} refuses the API key; set KALM_QDRANT_API_KEY.")
        reason = f"{error.status_code} {_reason(error)}".strip()
        if _is_passing(error):
            return StoreError(f"The Qdrant server at {address} is out of order ({reason}); try again later.")
        return StoreError(f"The Qdrant server at {address} refuses a request ({reason}); check its version and limits.")


def _is_passing(error: Exception) -> bool:
    """Whether the same request may succeed later."""
    if isinstance(error, UnexpectedResponse):
        return error.status_code == 429 or (error.status_code or 0) >= 500
    if isinstance(error, ResponseHandlingException):
        is_wrong_answer = isinstance(error.source, ValueError)  # not of the form that this client knows
        return not is_wrong_answer and "CERTIFICATE_VERIFY_FAILED" not in str(error.source)
    return not isinstance(error, JSONDecodeError)


def _wait_seconds(error: Exception, number: int) -> float:
    """Time before try ``number + 1``: doubled each time, half of it by chance, and no less than the server asks."""
    longest = min(_FIRST_SECONDS * 2.0 ** (number - 1), _LONGEST_SECONDS)
    asked = float(error.retry_after_s) if isinstance(error, ResourceExhaustedResponse) else 0.0
    return max(random.uniform(longest / 2, longest), min(asked, _LONGEST_RETRY_AFTER))


def _reason(error: UnexpectedResponse) -> str:
    """What the server says, on one line."""
    try:
        said = error.structured()["status"]["error"]
    except (ValueError, KeyError, TypeError):  # from something in between that is not Qdrant
        said = error.reason_phrase
    return " ".join(str(said).split()).rstrip(".")


def trusted(ca_file: Path | None) -> ssl.SSLContext | bool:
    """Whose certificates to trust: the system's, or those of a file.

    Raises:
        StoreError: If it cannot be read.
    """
    if ca_file is None:
        return True
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # an SSLError is one
        raise StoreError(
            f"The certificates in {ca_file} cannot be read ({error.strerror or error}); correct KALM_QDRANT_CA_FILE."
        ) from error
