"""Under which circumstances a benchmark on the container engine was run, and what it says meanwhile."""

import datetime
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any


def circumstances(repository: Path) -> dict[str, Any]:
    """Machine and day, how busy it is, and which commit is measured."""
    revision = ["git", "-C", str(repository), "rev-parse", "--short", "HEAD"]
    return {
        "machine": f"{os.cpu_count()} cores, {platform.system()}, {datetime.date.today().isoformat()}",
        "load_before": load(),
        "commit": subprocess.run(revision, capture_output=True, text=True, check=True).stdout.strip(),
    }


def load() -> float:
    """The load average of the last minute."""
    return round(os.getloadavg()[0], 1)


def say(line: str) -> None:
    """A line for whoever waits."""
    sys.stderr.write(f"{line}\n")
