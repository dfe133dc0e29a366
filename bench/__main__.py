"""Run every benchmark, one process each, so that none inherits another's memory or threads."""

import subprocess
import sys

PARTS = (
    "speed",
    "startup",
    "quality",
    "fit",
    "judging",
    "judgements",
    "live",
    "long_text",
    "steering",
    "texts",
    "clicks",
)


def main() -> None:
    for part in PARTS:
        subprocess.run([sys.executable, "-m", f"bench.{part}"], check=True)


if __name__ == "__main__":
    main()
