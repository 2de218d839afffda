"""Doctor, backup and restore from the command line."""

import json
import shutil


def done(outcome):
    assert outcome.code == 0, outcome.err
    return outcome.out


def test_drift_is_found_and_repaired_and_all_of_it_backed_up(cli, write):
    write(cli.folder / "shelf", **{"a.md": "# Apples\n\nApples grow on trees.\n", "b.txt": "Bees make honey.\n"})
    cli("corpus", "add", "shelf", "shelf")
    done(cli("index", "build", "shelf"))
    assert "ok   shelf: passages: 2 passages are stored, 0 are missing and 0 too many" in done(cli("doctor", "shelf"))

    (generation,) = cli.data.glob("indexes/shelf/generation-*")
    shutil.rmtree(generation)
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
