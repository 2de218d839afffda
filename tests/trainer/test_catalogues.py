"""Message catalogues become sentence pairs, and nothing that is no sentence."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import write_po

from trainer.catalogues import bare, catalogue_pairs, sentence_pair, texts_of_tables
from trainer.columns import InvalidData
from trainer.config import DataConfig
from trainer.data import TrainingData

BEES = ("Bees make honey from nectar.", "蜜蜂用花蜜酿造蜂蜜。")
RIVER = ("The river is the longest in Asia.", "这条河是亚洲最长的河流。")


def write(path, *messages, fuzzy=(), writer=write_mo):
    catalogue = Catalog(locale="zh_CN")
    for original, translation in messages:
        catalogue.add(original, translation, flags=["fuzzy"] if original in fuzzy else [])
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        writer(file, catalogue)


@pytest.mark.parametrize(
    ("original", "translation", "expected"),
    [
        (*BEES, BEES),
        ("narrator^" + BEES[0], BEES[1], BEES),
        ("<b>Bees</b> make [i]honey[/i]\nfrom nectar.", BEES[1], BEES),
        ("_Bees make honey from nectar.", "蜜蜂用花蜜酿造蜂蜜(_B)。", BEES),
        (
            "Save the document _now or later",
            "现在或稍后保存文档(&N)",
            ("Save the document now or later", "现在或稍后保存文档"),
        ),
        ("Open file", "打开文件", None),  # a button
        ("Could not open the file %s today", "今天无法打开文件 %s", None),  # to be filled in
        ("There are {n} bees in the hive", "蜂巢里有 {n} 只蜜蜂", None),
        ("Call the function read_file() to read it", "调用函数 read_file() 来读取它", None),
        ("Use --force to make it do so", "使用 --force 强制执行", None),
        ("THIS IS A WARNING TO EVERYONE", "这是给所有人的警告", None),
        ("Bees make honey from nectar.", "Bees make honey from nectar.", None),  # not translated
        ("Bees make honey from nectar.", "", None),
        ("Bees make honey from nectar.", "蜜蜂", None),  # too little of it
        (BEES[1], BEES[1], None),
    ],
)
def test_a_message_is_a_sentence_or_nothing(original, translation, expected):
    assert sentence_pair(original, translation) == expected


@pytest.mark.parametrize(
    ("place", "writer"),
    [
        ("locale/zh_CN/LC_MESSAGES/game.mo", write_mo),
        ("po/zh_CN.po", write_po),
        ("po/game-zh_CN.po", write_po),
        ("zh_CN.UTF-8/game.mo", write_mo),
    ],
)
def test_catalogues_are_found_in_both_formats(tmp_path, place, writer):
    write(tmp_path / "root" / place, BEES, RIVER, writer=writer)
    write(
        tmp_path / "root" / place.replace("zh_CN", "zh_TW"),
        ("It is not to be read.", "不要读取这一个文件。"),
        writer=writer,
    )
    table = catalogue_pairs([tmp_path / "root"], licence="GPL-2+")
    assert table.to_pylist() == [
        {"query": BEES[1], "positive": BEES[0]},
        {"query": RIVER[0], "positive": RIVER[1]},
    ]
    assert table.schema.metadata[b"licence"] == b"GPL-2+"


def test_a_text_stands_once_and_unfinished_translations_not_at_all(tmp_path):
    write(tmp_path / "a" / "zh_CN.po", BEES, RIVER, fuzzy={RIVER[0]}, writer=write_po)
    write(tmp_path / "b" / "zh_CN.po", ("Bees make HONEY from nectar!", BEES[1] + "好"), writer=write_po)
    assert catalogue_pairs([tmp_path]).num_rows == 1


def test_texts_of_an_evaluation_are_left_out(tmp_path):
    write(tmp_path / "zh_CN.po", BEES, RIVER, writer=write_po)
    (tmp_path / "eval" / "task").mkdir(parents=True)
    pq.write_table(
        pa.table({"text1": ["蜜蜂 用花蜜酿造蜂蜜", None], "score": [1, 2]}),
        tmp_path / "eval" / "task" / "pairs.parquet",
    )
    left = catalogue_pairs([tmp_path], without=texts_of_tables(tmp_path / "eval"))
    assert left.to_pylist() == [{"query": RIVER[1], "positive": RIVER[0]}]


def test_the_table_trains_bare_in_both_languages(tmp_path):
    write(tmp_path / "zh_CN.po", BEES, RIVER, writer=write_po)
    (tmp_path / "tables").mkdir()
    pq.write_table(catalogue_pairs([tmp_path]), tmp_path / "tables" / "game.parquet")
    data = TrainingData.open(DataConfig(root=str(tmp_path / "tables")), seed=1, negatives_per_query=0)
    assert data.sources[0].info.languages == {"zh", "en"}
    assert data.sources[0].info.query_prompt == ""


def test_what_cannot_be_used_is_named(tmp_path):
    with pytest.raises(InvalidData, match="There is no zh_CN message catalogue"):
        catalogue_pairs([tmp_path])
    write(tmp_path / "zh_CN.po", ("Open", "打开"), writer=write_po)
    with pytest.raises(InvalidData, match="hold no translated sentence"):
        catalogue_pairs([tmp_path])
    (tmp_path / "zh_CN.mo").write_bytes(b"no catalogue at all")
    with pytest.raises(InvalidData, match=r"zh_CN\.mo cannot be read"):
        catalogue_pairs([tmp_path])
    with pytest.raises(InvalidData, match="There is no parquet file"):
        list(texts_of_tables(tmp_path))


def test_width_case_and_marks_do_not_tell_texts_apart():
    assert bare("Ｈｏｎｅｙ, 蜂蜜！") == bare("honey蜂蜜")
