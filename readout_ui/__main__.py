"""`python -m readout_ui` and the console script `readout-ui`."""

import sys

from readout_ui.cli.program import run


def main() -> None:
    """Run the command line and exit with its status."""
    sys.exit(run())


if __name__ == "__main__":
    main()
