"""`python -m cannery` is the command `cannery`."""

from cannery.cli.main import main

main()
