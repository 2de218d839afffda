"""``kalm user``."""

PASSWORD = "correct horse battery\n"


def test_accounts_are_entered_listed_changed_and_removed(cli):
    assert "There are no accounts" in cli("user", "list").out
    assert cli("user", "add", "ann", "--role", "admin", stdin=PASSWORD).out == "ann can sign in as admin.\n"
    assert cli("user", "add", "bob", stdin=PASSWORD).code == 0
    assert cli("user", "role", "bob", "editor").out == "bob is editor now.\n"
    listed = cli("user", "list").out.split()
    assert listed[listed.index("bob") + 1] == "editor"
    assert cli("user", "password", "bob", stdin="another password\n").code == 0
    assert cli("user", "remove", "bob").code == 0
    assert "bob" not in cli("user", "list").out
    kept = (cli.data / "accounts.json").read_text(encoding="utf-8")
    assert "horse" not in kept


def test_mistakes_are_one_sentence(cli):
    assert "Nobody would be an admin" in cli("user", "add", "bob", stdin=PASSWORD).refusal
    assert "choose another" in cli("user", "add", "ann", "--role", "admin", stdin="short\n").refusal
    assert "There is no account eve" in cli("user", "remove", "eve").refusal
    assert not (cli.data / "accounts.json").exists()
