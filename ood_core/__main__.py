"""Entry point of `python -m ood_core`."""

from .cli import main

main(prog_name="python -m ood_core")
