"""Entry point of `python -m ood_core`."""

from .cli import main

if __name__ == "__main__":
    main(prog_name="python -m ood_core")
