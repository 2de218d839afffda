"""Training texts made on the spot."""

import pytest

_SUBJECTS = {
    "en": {
        "bees": ["honey", "nectar", "wings", "hive", "queen", "pollen"],
        "stars": ["light", "gravity", "planet", "orbit", "dust", "telescope"],
    },
    "zh": {
        "蜜蜂": ["蜂蜜", "花蜜", "翅膀", "蜂巢", "蜂王", "花粉"],
        "星星": ["光线", "引力", "行星", "轨道", "尘埃", "望远镜"],
    },
}


@pytest.fixture(scope="session")
def articles(tmp_path_factory):
    """A folder of short Markdown articles in two languages and four topics."""
    root = tmp_path_factory.mktemp("articles")
    for language, topics in _SUBJECTS.items():
        for topic, words in topics.items():
            folder = root / language / topic
            folder.mkdir(parents=True)
            for number, word in enumerate(words):
                other = words[(number + 1) % len(words)]
                (folder / f"{number}.md").write_text(_article(language, topic, word, other), encoding="utf-8")
    return root


def _article(language, topic, word, other):
    if language == "zh":
        return (
            f"# {topic}和{word}\n\n{word}对{topic}很重要。人们观察{word}已经很久了。\n\n## {other}\n\n"
            f"{other}与{word}有关。研究{topic}的人也研究{other}，他们每年写下许多记录。\n"
        )
    return (
        f"# {topic.title()} and {word}\n\nThe {word} matters to {topic}. People have watched the {word} for long.\n\n"
        f"## The {other}\n\nA {other} has to do with the {word}. Whoever studies {topic} also studies the {other}, "
        f"and writes down many notes every year.\n"
    )
