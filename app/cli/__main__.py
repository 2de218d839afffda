"""``python -m app.cli``: the command line where no script is installed."""

from app.cli import main

main()
