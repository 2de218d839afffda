"""What the small bilingual model is trained on: named tables whose licences let a model made from them be passed on.

Left out of the tables beside them: sets for research use, sets without a licence, and texts of unclear origin. The
tables of programs' own translations (Wesnoth, Cataclysm, other games, desktops, help, web applications) are of the kind
that ``kalm train pairs`` makes; any other data is trained on with ``--set data.sources=[]``.
"""

from collections.abc import Mapping
from pathlib import Path

from trainer.config import Source

_WEAK = {
    # English
    "wordnet_gloss_en": 0.4,
    "debian_packages_en": 0.5,
    "foldoc_en": 1.0,
    "gcide_en": 0.3,
    "python_code_search_en": 0.15,
    "python_api_doc_en": 0.15,
    "aws_api_en": 0.2,
    "libreoffice_help_en": 1.0,
    "debian_manuals_en": 1.0,
    "gimp_help_en": 1.0,
    "manpages_en": 1.0,
    "peps_en": 0.5,
    "linux_kernel_docs_en": 0.5,
    "tldr_commands_en": 0.3,
    "gsm8k_en": 1.0,
    "stackexchange_titles_en": 2.0,
    "helm_docs_en": 1.0,
    # Chinese
    "libreoffice_help_zh": 2.0,
    "debian_manuals_zh": 2.0,
    "manpages_zh": 2.0,
    "linux_kernel_docs_zh": 2.0,
    "tldr_commands_zh": 1.0,
    "helm_docs_zh": 2.0,
    "javaguide_zh": 2.0,
    "laws_zh": 0.7,
    "poetry_zh": 0.2,
    "xiehouyu_zh": 0.2,
    "dialogue_zh": 1.0,
    "chatterbot_en_zh": 1.0,
    # across the two
    "debian_packages_zh_en": 2.0,
    "libreoffice_help_en_zh": 1.0,
    "manual_sections_en_zh": 2.0,
    "tldr_en_zh": 1.0,
    "cedict_zh_en": 0.6,
    "python_docs_en_zh": 0.6,
    "insurance_questions_zh_en": 1.0,
    "wesnoth_zh_en": 1.0,
    "cataclysm_zh_en": 0.6,
    "games_zh_en": 0.7,
    "homeassistant_zh_en": 0.4,
    "mediawiki_zh_en": 0.4,
    "mozilla_zh_en": 0.3,
    "chromium_zh_en": 0.3,
    "helpdocs_zh_en": 0.6,
    "npm_apps_zh_en": 0.4,
    "pypi_apps_zh_en": 0.2,
    "desktop_zh_en": 0.2,
}
"""Pairs for the first stage, and how often a row is visited in an epoch."""

_LABELLED = {
    # English
    "squad_sentences_en": 1.0,
    "opentrivia_en": 0.7,
    "opentrivia_categories_en": 0.5,
    "medquad_en": 0.5,
    "scitldr_en": 1.0,
    "covidqa_en": 1.0,
    "covid_faq_en": 2.0,
    "stackexchange_answers_en": 2.0,
    "banking77_en": 1.0,
    "clinc150_en": 0.6,
    "hwu64_en": 1.0,
    "snips_en": 0.4,
    # Chinese
    "cmrc2018_zh": 4.0,
    "csl_titles_zh": 2.0,
    "csl_category_zh": 1.0,
    "csl_discipline_zh": 2.0,
    "medical_dialogue_zh": 1.0,
    "egret_forum_zh": 1.0,
    "kdconv_knowledge_zh": 1.0,
    "pawsx_zh": 2.0,
}
"""Rows for the second stage."""

_TAUGHT = {
    "wordnet_gloss_en": 0.15,
    "foldoc_en": 0.2,
    "peps_en": 0.15,
    "javaguide_zh": 1.0,
    "laws_zh": 0.4,
    "libreoffice_help_zh": 1.5,
    "python_docs_en_zh": 0.15,
    "helpdocs_zh_en": 0.4,
    "libreoffice_help_en_zh": 0.3,
    "manual_sections_en_zh": 2.0,
    "debian_packages_zh_en": 2.0,
    "wesnoth_zh_en": 0.4,
}
"""Pairs of the first stage that the third takes up once more, as questions and answers: teachers need no labels."""

_TAUGHT_AS_ALIKE = {
    "finetune/squad_sentences_en": 0.8,
    "finetune/opentrivia_categories_en": 0.8,
    "finetune/scitldr_en": 1.0,
    "finetune/medquad_en": 0.2,
    "pretrain/wordnet_gloss_en": 0.1,
    "finetune/kdconv_knowledge_zh": 0.7,
    "finetune/egret_forum_zh": 2.0,
    "finetune/medical_dialogue_zh": 0.7,
    "pretrain/dialogue_zh": 1.0,
    "pretrain/insurance_questions_zh_en": 1.0,
    "pretrain/cedict_zh_en": 0.1,
    "pretrain/wesnoth_zh_en": 0.8,
    "pretrain/cataclysm_zh_en": 0.4,
    "pretrain/games_zh_en": 0.5,
}
"""The same, both sides with the instruction of semantic similarity."""

_CHINESE_SHARE, _ENGLISH_SHARE = 1.6, 0.5
"""How much more, and less, often the tables of the third stage are visited than their weights say."""


def weak_pairs() -> tuple[Source, ...]:
    """The sources of the first stage."""
    return _sources(_WEAK)


def labelled_rows() -> tuple[Source, ...]:
    """The sources of the second stage."""
    return _sources(_LABELLED)


def taught_rows() -> tuple[Source, ...]:
    """The sources of the third stage, below the folder that holds those of the other two."""
    alike = tuple(
        Source(name=f"{Path(path).name}_alike", path=f"{path}.parquet", weight=weight, task="STS")
        for path, weight in _TAUGHT_AS_ALIKE.items()
    )
    # Reranking has the instruction of retrieval; being named, it goes before what the tables say of themselves.
    again = tuple(source.model_copy(update={"task": "Reranking"}) for source in _sources(_TAUGHT, "pretrain/"))
    return tuple(map(_leaning, _sources(_LABELLED, "finetune/") + again + alike))


def _leaning(source: Source) -> Source:
    """A source as often as it was found to be needed: the student starts from a decoder that knows English better."""
    share = _CHINESE_SHARE if "_zh" in source.name else _ENGLISH_SHARE
    return source.model_copy(update={"weight": source.weight * share})


def _sources(weights: Mapping[str, float], folder: str = "") -> tuple[Source, ...]:
    return tuple(Source(name=name, path=f"{folder}{name}.parquet", weight=weight) for name, weight in weights.items())
