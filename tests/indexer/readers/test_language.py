"""python -m pytest tests/indexer/readers/test_language.py."""

import threading

import pytest

from indexer.readers import language
from indexer.readers.language import detect_language


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("The quick brown fox jumps over the lazy dog.", "en"),
        ("def main(): return x", "en"),
        ("Hello", "en"),
        ("今天天气很好", "zh"),
        ("今天天氣很好", "zh"),
        ("使用 kubectl get pods --namespace default 查看 Pod 状态", "zh"),
        ("Confucius (孔子) was a Chinese philosopher who lived in the state of Lu.", "en"),
        ("今日は天気がいいので公園へ行きます。", "ja"),
        ("오늘은 날씨가 좋아서 공원에 갑니다.", "ko"),
        ("Die Straße ist lang und die Häuser sind alt, aber schön.", "de"),
        ("L'été dernier, les élèves étaient en vacances à la mer.", "fr"),
        ("Привет, это проверка определения языка текста.", "ru"),
        ("", ""),
        ("12,5 — 3.14 !?", ""),
    ],
)
def test_languages_are_told_apart(text, code):
    assert detect_language(text) == code


def test_the_model_is_loaded_once_by_many_threads(monkeypatch):
    monkeypatch.setattr(language, "_classifier", None)
    loaded, answers = [], []
    threads = [
        threading.Thread(
            target=lambda: (answers.append(detect_language("some English words")), loaded.append(language._load()))
        )
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == ["en"] * 8
    assert len({id(classifier) for classifier in loaded}) == 1
