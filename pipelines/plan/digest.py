"""The short hash that tells one set of settings from another."""

import hashlib
import json
from typing import Any


def digest(value: Any) -> str:
    """16 hex digits of JSON-ready settings; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=list).encode()).hexdigest()[:16]
