"""Embeddings for tests of the LangChain parts, and the documents that they are asked about."""

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings

AXES = ("bee", "bread", "hole", "蜜蜂")

DOCUMENTS = [
    Document(id="bees", page_content="Bees make honey.", metadata={"source": "a.md", "year": 2019}),
    Document(id="bees too", page_content="A bee makes honey from nectar.", metadata={"source": "a.md", "year": 2021}),
    Document(id="bread", page_content="Yeast makes bread rise.", metadata={"source": "b.md", "year": 2021}),
    Document(id="zh", page_content="蜜蜂用花蜜酿造蜂蜜。", metadata={"source": "c.md", "public": True}),
]


class Counted(Embeddings):
    """A text's vector counts the words of ``AXES``; a text that holds ``broken`` cannot be embedded."""

    def __init__(self, namespace=""):
        self.namespace = namespace
        self.broken = ""
        self.embedded = []

    def embed_documents(self, texts):
        return [self._vector(text) for text in texts]

    def embed_query(self, text):
        return self._vector(text)

    def _vector(self, text):
        if self.broken and self.broken in text:
            raise ConnectionError("the model went away")
        self.embedded.append(text)
        return [*(float(text.lower().count(axis)) for axis in AXES), 0.1 + len(text) / 1000]


def ids(documents):
    return [document.id for document in documents]
