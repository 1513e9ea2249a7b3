"""``python -m harness``: the command line, for whoever has this Python but not its scripts on PATH."""

from harness.cli import main

main()
