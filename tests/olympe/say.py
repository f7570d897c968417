"""One line of JSON on stdout: how the parts of the loopback ANAFI report."""

from __future__ import annotations

import json
import sys
from typing import Any


def say(**line: Any) -> None:
    """Write it whole; threads may say at the same time."""
    sys.stdout.write(json.dumps(line, default=str) + "\n")
    sys.stdout.flush()
