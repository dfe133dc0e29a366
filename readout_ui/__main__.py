"""`python -m readout_ui` and the console script `readout-ui`."""

import os
import sys
from collections.abc import Sequence

from readout_ui.cli.program import run


def main() -> None:
    """Run the command line and exit with its status; what is worth saying we say ourselves."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    sys.exit(run(start_app=start_app))


def start_app(arguments: Sequence[str]) -> None:
    """Serve the web app, which the command line itself knows nothing of."""
    from readout_ui.app.start import main as start

    start(arguments, "readout-ui app")


if __name__ == "__main__":
    main()
