"""Run the ``ferkit`` command with ``python -m ferkit``."""

from .cli import main

main()
