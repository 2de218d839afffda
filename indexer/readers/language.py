"""Which language a text is in: by its script where that decides, else by letter statistics."""

import re
import threading
from typing import Protocol

_SAMPLE_CHARS = 4000
_CLASSIFIED_CHARS = 2000
_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_KANA = re.compile("[\u3041-\u30ff\u31f0-\u31ff\uff66-\uff9d]")
_HANGUL = re.compile("[\u1100-\u11ff\u3131-\u318e\uac00-\ud7a3]")
_OTHER_WORD = re.compile(
    "[^\\W\\d_\u1100-\u11ff\u3041-\u318e\u31f0-\u31ff\u3400-\u9fff\uac00-\ud7a3\uf900-\ufaff\uff66-\uff9d]+"
)

_CJK_SHARE = 0.2
"""Chinese manuals quote much code, English ones few Chinese names; measured on both, the two are far apart."""
_KANA_SHARE = 0.1
_CONFIDENT = 0.5

# Without this list code and lists of names pass for Latin, Maltese or Luxembourgish.
_LANGUAGES = (
    "ar bg bn ca cs da de el en es et fa fi fr he hi hr hu id it lt lv ms nl no pl pt ro ru sk sl sr sv ta te th tr"
    " uk ur vi"
).split()


class _Classifier(Protocol):
    def classify(self, text: str) -> tuple[str, float]: ...


_loading = threading.Lock()
_classifier: _Classifier | None = None


def detect_language(text: str) -> str:
    """ISO 639-1 code of the language the text begins in; empty where it has no letters.

    Looks at the first few thousand characters. Safe to call from several threads.
    """
    sample = text[:_SAMPLE_CHARS]
    han, kana, hangul = (len(script.findall(sample)) for script in (_HAN, _KANA, _HANGUL))
    words = len(_OTHER_WORD.findall(sample))
    cjk = han + kana + hangul
    if cjk + words == 0:
        return ""
    if cjk >= _CJK_SHARE * (cjk + words):
        return _by_script(han, kana, hangul)
    language, confidence = _load().classify(sample[:_CLASSIFIED_CHARS])
    # A few plain words or an excerpt of code: English is the likelier by far.
    return "en" if confidence < _CONFIDENT and sample.isascii() else language


def _by_script(han: int, kana: int, hangul: int) -> str:
    if hangul > han + kana:
        return "ko"
    return "ja" if kana > _KANA_SHARE * (han + kana) else "zh"


def _load() -> _Classifier:
    global _classifier
    with _loading:
        if _classifier is None:
            # Here, not above: its model takes half a second to unpack, and Chinese text never needs it.
            from py3langid.langid import MODEL_FILE, LanguageIdentifier

            identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
            identifier.set_languages(_LANGUAGES)
            _classifier = identifier
    return _classifier
