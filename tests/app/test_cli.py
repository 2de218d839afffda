import json
import socket
import subprocess
import sys

import click
import pytest
import typer

from app.cli import application

FILES = {
    "bees.md": "# How bees make honey\n\nBees dry nectar with their wings until it becomes honey.\n",
    "retrieval.md": "# 检索\n\n检索系统把文字变成向量，再找出最近的几个。\n",
    "蜂蜜.txt": "蜂蜜\n\n蜜蜂用花蜜酿造蜂蜜，储存在蜂巢里过冬。\n",
    "tea.html": "<html lang='en'><title>Tea</title><body><h1>Tea</h1><p>Honey is put into tea against coughs.</p>",
    "rows.csv": "id,title,text\n7,Mead,Mead is a drink that is made from honey and water.\n",
    "odd.md": "# [red]Brackets[/red] :bee:\n\nA heading may hold [brackets] and mean them, as Pooh's honey does.\n",
}


@pytest.fixture(scope="module")
def books(module_cli, write):
    """A command line with the corpus ``books``, built. Tests only read it."""
    root = write(module_cli.folder / "books", **FILES)
    assert module_cli("corpus", "add", "books", root).code == 0
    assert module_cli("index", "build", "books").code == 0
    return module_cli


@pytest.fixture
def shelf(cli, write):
    """A folder that is a corpus of the test's own, not built yet."""
    root = write(cli.folder / "shelf", **{"a.md": "# Apples\n\nApples grow on trees.\n", "b.txt": "Bees make honey.\n"})
    assert cli("corpus", "add", "shelf", "shelf").code == 0
    return root


def commands(command=None, path=()):
    """Every command with its path, as the help sees them."""
    command = command or typer.main.get_command(application)
    if isinstance(command, click.Group) or hasattr(command, "commands"):
        return [
            found for name, sub in command.commands.items() if not sub.hidden for found in commands(sub, (*path, name))
        ]
    return [path]


def found(outcome):
    """The files that a search with --json found."""
    assert outcome.code == 0, outcome.err
    return [result["uri"] for result in json.loads(outcome.out)]


# Help


@pytest.mark.parametrize("path", commands(), ids=" ".join)
def test_every_command_shows_an_example_of_itself(cli, path):
    shown = cli(*path, "--help")
    assert shown.code == 0
    assert f"Example: kalm {' '.join(path)}" in shown.out


def test_without_arguments_it_shows_what_there_is(cli):
    shown = cli()
    assert {word for path in commands() for word in path[:1]} <= set(shown.out.split())


# As a process


def test_the_installed_command_says_one_line_and_ends_with_1(kalm, tmp_path):
    assert kalm(tmp_path, "search", "novels", "honey").refusal.startswith("There is no corpus novels")


def test_commands_that_need_no_model_do_not_wait_for_torch():
    code = "import sys, app.cli, app.services.indexing; sys.exit('torch' in sys.modules or 'streamlit' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# Corpora


def test_corpora_are_added_listed_and_removed(cli, shelf):
    assert cli("corpus", "list").out.split()[-1] == str(shelf)
    assert "not yet" in cli("corpus", "list").out
    cli("index", "build", "shelf")
    assert "not yet" not in cli("corpus", "list").out
    removed = cli("corpus", "remove", "shelf")
    assert (removed.code, removed.err) == (0, "")
    assert (shelf / "a.md").exists()
    assert list((cli.data / "indexes").iterdir()) == []
    assert "There are no corpora yet" in cli("corpus", "list").out


def test_adding_the_same_again_changes_nothing_and_another_folder_is_refused(cli, shelf):
    assert cli("corpus", "add", "shelf", shelf).code == 0
    (cli.folder / "other").mkdir()
    assert f"already stands for {shelf}" in cli("corpus", "add", "shelf", "other").refusal


def test_only_files_that_match_are_included(cli, shelf):
    cli("corpus", "add", "notes", shelf, "--include", "*.txt")
    assert cli("index", "build", "notes").out.startswith("notes: 1 documents")


def test_names_are_printed_letter_for_letter(cli, write):
    root = write(cli.folder / "[draft] :bee: [/x]", **{"a.md": "# A\n\nApples.\n", "[b].pdf": b"%PDF-1.4 nothing"})
    assert cli("corpus", "add", "drafts", root).out == f"The corpus drafts stands for {root}.\n"
    assert str(root) in cli("corpus", "list").out
    assert "failed: [b].pdf: " in cli("index", "build", "drafts").out


# Building


def test_a_build_follows_its_folder(cli, shelf):
    first = cli("index", "build", "shelf")
    assert first.out.startswith("shelf: 2 documents written as 2 passages, 0 taken out")
    again = cli("index", "build", "shelf")
    assert (again.code, again.out) == (0, "shelf is up to date: 2 files, nothing changed.\n")

    (shelf / "a.md").write_text("# Pears\n\nPears grow on trees as well.\n")
    (shelf / "b.txt").unlink()
    (shelf / "c.txt").write_text("Cats sleep all day.\n")
    assert "look at 2 new or changed files (0.0 MB) and take out 1" in cli("index", "status", "shelf").out
    assert cli("index", "build", "shelf").out.startswith("shelf: 2 documents written as 2 passages, 1 taken out")
    status = cli("index", "status", "shelf").out
    assert status.startswith("shelf: 2 documents, 2 passages")
    assert status.endswith("A build would change nothing.\n")
    for words, files in {"pears": ["a.md"], "apples": [], "honey": [], "cats": ["c.txt"]}.items():
        assert found(cli("search", "shelf", words, "--mode", "keyword", "--json")) == files


def test_an_unbuilt_corpus_has_a_status(cli, shelf):
    assert cli("index", "status", "shelf").out.startswith("shelf: not built yet.\nA build would look at 2 new")


def test_a_damaged_file_is_a_failed_row_and_the_rest_is_built(cli, shelf):
    (shelf / "broken.pdf").write_bytes(b"%PDF-1.7 and then nothing that a PDF should hold")
    built = cli("index", "build", "shelf")
    assert built.code == 0
    assert built.out.startswith("shelf: 2 documents written")
    failed = next(line for line in built.out.splitlines() if "failed" in line)
    assert failed.startswith("  failed: broken.pdf: ")
    assert len(failed) > len("  failed: broken.pdf: ") + 10
    assert failed in cli("index", "status", "shelf").out
    assert cli("corpus", "list").out.splitlines()[-2].split()[:4] == ["shelf", "2", "2", "1"]


def test_a_file_that_becomes_damaged_stays_searchable_as_it_was(cli, shelf):
    cli("index", "build", "shelf")
    (shelf / "a.md").write_bytes(b"\x00\x01\x02\x03" * 100)
    assert "failed: a.md: " in cli("index", "build", "shelf").out
    assert found(cli("search", "shelf", "apples", "--mode", "keyword", "--json")) == ["a.md"]


def test_a_fresh_build_looks_at_everything_again(cli, shelf):
    cli("index", "build", "shelf")
    assert cli("index", "build", "shelf", "--fresh").out.startswith("shelf: 2 documents written as 2 passages")


def test_an_index_is_not_extended_with_another_model(cli, shelf, tiny_checkpoint):
    cli("index", "build", "shelf")
    other = {"KALM_MODEL": tiny_checkpoint("llama")}
    assert "kalm index rebuild shelf" in cli("index", "build", "shelf", **other).refusal
    assert cli("index", "build", "shelf", "--fresh", **other).code == 0
    assert found(cli("search", "shelf", "apples", "--limit", "1", "--json"))


def test_a_folder_that_is_gone_does_not_empty_its_index(cli, shelf):
    cli("index", "build", "shelf")
    shelf.rename(cli.folder / "moved")
    assert "is not there" in cli("index", "build", "shelf").refusal
    assert "is not there" in cli("index", "status", "shelf").refusal
    assert found(cli("search", "shelf", "apples", "--mode", "keyword", "--json")) == ["a.md"]


# Searching


def test_results_are_numbered_with_title_place_and_passage(books):
    shown = books("search", "books", "nectar wings", "--mode", "keyword")
    assert (shown.code, shown.err) == (0, "")
    title, place, passage = shown.out.splitlines()[:3]
    assert title.startswith("1. How bees make honey")
    assert place == "   bees.md"
    assert "Bees dry nectar with their wings" in passage


def test_json_holds_everything_a_program_needs(books):
    [result] = json.loads(books("search", "books", "nectar", "--mode", "keyword", "--json").out)
    assert (result["uri"], result["title"], result["file_type"], result["language"]) == (
        "bees.md",
        "How bees make honey",
        "markdown",
        "en",
    )
    [(start, end)] = result["highlights"]
    assert result["text"][start:end] == "nectar"


def test_rows_of_tables_are_results_with_their_key(books):
    shown = books("search", "books", "mead", "--mode", "keyword").out
    assert "rows.csv · 7" in shown


def test_titles_are_printed_letter_for_letter(books):
    assert "1. [red]Brackets[/red] :bee:" in books("search", "books", "pooh", "--mode", "keyword").out


@pytest.mark.parametrize(
    ("filters", "files"),
    [
        (["--file-type", "html", "--file-type", "csv"], {"tea.html", "rows.csv"}),
        (["--file-type", "markdown", "--language", "en", "--mode", "semantic"], {"bees.md", "odd.md"}),
        (["--language", "zh", "--mode", "semantic"], {"retrieval.md", "蜂蜜.txt"}),
        (["--language", "zh", "--mode", "keyword"], set()),
        (["--file-type", "html", "--language", "zh"], set()),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_filters_narrow(books, filters, files):
    assert set(found(books("search", "books", "honey", "--json", *filters))) == files


def test_pages_continue_the_list(books):
    whole = found(books("search", "books", "honey", "--json"))
    assert len(whole) == len(FILES)
    pages = [found(books("search", "books", "honey", "--json", "--limit", "4", "--page", n)) for n in (1, 2)]
    assert pages == [whole[:4], whole[4:]]
    numbers = [
        line.split(".")[0] for line in books("search", "books", "honey", "--limit", "2", "--page", "2").out.split("\n")
    ]
    assert {"3", "4"} <= set(numbers)
    assert "1" not in numbers


def test_nothing_found_says_what_to_try(books):
    assert books("search", "books", "zeppelin", "--mode", "keyword").out.startswith("Nothing was found; try")
    assert found(books("search", "books", "zeppelin", "--mode", "keyword", "--json")) == []


@pytest.mark.parametrize("query", ["统把文", "檢索系統", "系統", "量"])
def test_keywords_find_chinese_substrings_in_either_script(books, query):
    assert found(books("search", "books", query, "--mode", "keyword", "--json")) == ["retrieval.md"]


def test_the_query_language_and_its_literal_reading(books):
    assert found(books("search", "books", 'honey "put into tea" type:html', "--json")) == ["tea.html"]
    assert "tea.html" not in found(books("search", "books", "honey -coughs", "--mode", "keyword", "--json"))
    assert found(books("search", "books", "coughs -honey", "--literal", "--limit", "1", "--json")) == ["tea.html"]
    assert "conditions only" in books("search", "books", "type:html").refusal


def test_near_duplicates_are_counted_under_their_result(cli, write):
    text = "A bee met a wasp by the river and asked for the way to the lime tree, which it did not know.\n"
    write(cli.folder / "tales", **{"one.txt": text, "two.md": text})
    assert cli("corpus", "add", "tales", "tales").code == 0
    assert cli("index", "build", "tales").code == 0
    shown = cli("search", "tales", "wasp").out
    assert "+1 near-duplicate: " in shown
    assert "BM25" in shown


def test_a_search_leaves_no_private_copies_behind(books):
    books("search", "books", "honey")
    assert [path.name for path in (books.data / "indexes/books/readers").iterdir()] == ["reader.lock"]


# Embedding


def test_models_are_listed_whole(cli):
    shown = cli("models").out
    assert "kalm-nano (default)" in shown
    assert "KaLM-Embedding/KaLM-embedding-multilingual-mini-instruct-v2.5@6a4cfc1" in shown
    assert "…" not in shown


# Mistakes


@pytest.mark.parametrize(
    ("arguments", "settings", "said"),
    [
        (["search", "novels", "honey"], {}, "There is no corpus novels; there are shelf."),
        (["index", "build", "novels"], {}, "There is no corpus novels"),
        (["index", "status", "novels"], {}, "There is no corpus novels"),
        (["corpus", "remove", "novels"], {}, "There is no corpus novels"),
        (["bench", "search", "novels"], {}, "There is no corpus novels"),
        (["search", "shelf", "honey"], {}, "kalm index build shelf"),
        (["search", "shelf", "   "], {}, "The question is empty"),
        (["corpus", "add", "two words", "shelf"], {}, "'two words' cannot be the name"),
        (["corpus", "add", "../shelf", "shelf"], {}, "cannot be the name"),
        (["corpus", "add", "new", "missing"], {}, "There is no folder or file"),
        (["corpus", "list"], {"KALM_PORT": "eighty"}, "The setting port is wrong"),
        (["serve"], {"KALM_PORT": "eighty"}, "The setting port is wrong"),
        (["serve", "--port", "70000"], {}, "The setting port is wrong"),
        (["serve", "--host", "nowhere.invalid"], {}, "Nothing can be served at nowhere.invalid:8501"),
        (["index", "build", "shelf"], {"KALM_MODEL": "nosuch"}, "There is no model 'nosuch'"),
        (["index", "build", "shelf"], {"KALM_MODEL": "kalm-v2"}, "hub"),
        (["corpus", "list"], {"KALM_DATABASE_URL": "nonsense"}, "The catalog cannot be opened"),
        (["corpus", "list"], {"KALM_DATA_DIR": "shelf/a.md"}, "The data folder shelf/a.md cannot be made"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
@pytest.mark.usefixtures("shelf")
def test_a_mistake_gets_one_line_and_exit_code_1(cli, arguments, settings, said):
    assert said in cli(*arguments, **settings).refusal


def test_a_port_in_use_is_said_before_anything_is_loaded(cli):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"127.0.0.1:{port} (Address already in use)" in cli("serve", "--port", port).refusal


@pytest.mark.parametrize(("content", "said"), [("port = = 1", "kalm.toml cannot be read"), ("colour = 1", "colour")])
def test_broken_settings_are_refused_in_one_line(cli, write, content, said):
    write(cli.folder, **{"kalm.toml": content})
    assert said in cli("corpus", "list").refusal


def test_a_damaged_catalog_is_refused_in_one_line(cli, write):
    write(cli.data, **{"catalog.sqlite": b"this is no database at all, " * 100})
    assert "cannot be opened" in cli("corpus", "list").refusal


def test_an_index_that_was_lost_is_refused_in_one_line(cli, shelf):
    cli("index", "build", "shelf")
    for generation in (cli.data / "indexes/shelf").glob("generation-*"):
        generation.rename(cli.folder / generation.name)
    assert "kalm doctor shelf --repair" in cli("search", "shelf", "honey").refusal


def test_a_damaged_index_is_refused_in_one_line(cli, shelf):
    cli("index", "build", "shelf")
    for config in (cli.data / "indexes/shelf").glob("generation-*/segments/*/segment.json"):
        config.write_text("{")
    assert "cannot be opened" in cli("search", "shelf", "honey").refusal


@pytest.mark.parametrize(
    ("package", "arguments", "said"),
    [
        ("babel", ["train", "all", "--out", "never"], "Training needs babel; {} -e '.[train]'."),
        ("mteb", ["eval", "--tasks", "STS12"], "Evaluation needs mteb; {} -e '.[eval]'."),
        ("mcp", ["mcp"], "The Model Context Protocol needs mcp; {} -e '.[mcp]'."),
    ],
)
def test_a_command_without_its_packages_says_what_to_install(cli, monkeypatch, package, arguments, said):
    monkeypatch.setitem(sys.modules, package, None)
    assert cli(*arguments).refusal == said.format("run pip install -c constraints.txt")
