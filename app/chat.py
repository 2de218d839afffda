"""Any chat model of LangChain's behind the one method that answers need."""

from collections.abc import Iterator
from functools import cache
from typing import Any

from embedder.errors import AppError


class ChatUnavailable(AppError):
    """A chat model that cannot be opened or does not answer."""


class LangChainChat:
    """A chat model of LangChain's. Its keys come from its own variables of the environment and go no further."""

    def __init__(self, model: Any, name: str) -> None:  # noqa: ANN401 - BaseChatModel, which may not be installed
        self._model = model
        self._name = name

    def stream(self, instruction: str, question: str) -> Iterator[str]:
        """Its answer, piece by piece.

        Raises:
            ChatUnavailable: If it fails; whatever it says about that may hold a key, and goes to the log alone.
        """
        try:
            for piece in self._model.stream([("system", instruction), ("human", question)]):
                yield piece.text
        except Exception as error:
            kind = type(error).__name__
            raise ChatUnavailable(
                f"The chat model {self._name} did not answer ({kind}); check that it runs and that its key is set."
            ) from error


@cache
def open_chat(name: str) -> LangChainChat:
    """A chat model by LangChain's name for it, e.g. ``openai:gpt-4.1-mini``.

    Raises:
        ChatUnavailable: If its packages are not installed, or it cannot be opened.
    """
    try:
        from langchain.chat_models import init_chat_model

        return LangChainChat(init_chat_model(name), name)
    except ImportError as error:
        raise ChatUnavailable(
            f"The chat model {name} needs packages that are not installed ({error.name or error}); install langchain "
            "and the package of its provider."
        ) from error
    except Exception as error:
        raise ChatUnavailable(
            f"The chat model {name} cannot be opened ({type(error).__name__}); check KALM_CHAT_MODEL and its key."
        ) from error
