"""Doctor, backup and restore from the command line."""

import json
import shutil
import sqlite3

import pytest


@pytest.fixture
def shelf(cli, write):
    """A folder that is a corpus of the test's own, built."""
    root = write(cli.folder / "shelf", **{"a.md": "# Apples\n\nApples grow on trees.\n", "b.txt": "Bees make honey.\n"})
    cli("corpus", "add", "shelf", "shelf")
    done(cli("index", "build", "shelf"))
    return root


def done(outcome):
    assert outcome.code == 0, outcome.err
    return outcome.out


def lose_index(cli):
    """Remove the version in use behind the catalog's back."""
    shutil.rmtree(max(cli.data.glob("indexes/shelf/generation-*")))


def made_with(cli):
    """What the version in use was made with."""
    versions = json.loads(done(cli("index", "versions", "shelf", "--json")))
    return next(each["generation"]["manifest"] for each in versions if each["is_live"])


def test_drift_is_found_and_repaired_and_all_of_it_backed_up(cli, shelf):
    assert "ok   shelf: passages: 2 passages are stored, 0 are missing and 0 too many" in done(cli("doctor", "shelf"))

    lose_index(cli)
    broken = cli("doctor", "shelf")
    assert broken.code == 1
    assert "WARN shelf: index: " in broken.out
    assert "shelf is built anew." in done(cli("doctor", "shelf", "--repair"))
    assert all(finding["is_well"] for finding in json.loads(done(cli("doctor", "shelf", "--json"))))

    assert "kalm.tar.gz holds shelf" in done(cli("backup", "kalm.tar.gz"))
    refused = cli("restore", "kalm.tar.gz")
    assert (refused.code, "holds an installation" in refused.err) == (1, True)
    again = {"KALM_DATA_DIR": cli.folder / "again"}
    assert "has again shelf" in done(cli("restore", "kalm.tar.gz", **again))
    assert "b.txt" in done(cli("search", "shelf", "honey", **again))


def test_a_repaired_index_is_made_as_it_was_whatever_is_configured_now(cli, shelf, tiny_checkpoint):
    other = {"KALM_MODEL": tiny_checkpoint("llama")}
    done(cli("index", "rebuild", "shelf", **other))
    before = made_with(cli)
    assert before["model"] == str(other["KALM_MODEL"])
    lose_index(cli)
    assert "shelf is built anew" in done(cli("doctor", "shelf", "--repair"))
    assert made_with(cli) == before


def test_a_repair_for_programs_says_how_things_stand_after_it(cli, shelf):
    lose_index(cli)
    findings = json.loads(done(cli("doctor", "--repair", "--json")))
    assert {"passages", "recall"} <= {finding["name"] for finding in findings}
    assert all(finding["is_well"] for finding in findings)


def test_the_installation_is_looked_at_as_the_page_does(cli, shelf):
    shown = done(cli("doctor"))
    for name in ("database", "schema", "unused", "disk"):
        assert f"ok   installation: {name}: " in shown
    (cli.data / "indexes" / "gone").mkdir()
    assert "WARN installation: unused: 1 folders with" in cli("doctor").out
    assert "unused" not in done(cli("doctor", "shelf"))


def test_a_schema_that_a_newer_program_changed_is_told(made):
    with sqlite3.connect(made.settings.data_dir / "catalog.sqlite") as connection:
        assert next(each for each in made.health.examine() if each.name == "schema").is_well
        connection.execute("UPDATE alembic_version SET version_num = 'm999'")
        connection.commit()
        finding = next(each for each in made.health.examine() if each.name == "schema")
    connection.close()
    assert (finding.is_well, "schema is m999, and m0" in finding.found) == (False, True)
