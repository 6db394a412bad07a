"""Run the command line: ``python -m micropie``."""

from micropie.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
