"""What others wrote, made fit for a screen; the rule itself stands where the auditor's tools can use it too."""

from __future__ import annotations

from keys.text import CLIPPED, DEFAULT_LIMIT, MAX_MARKS, safe_text

__all__ = ["CLIPPED", "DEFAULT_LIMIT", "MAX_MARKS", "safe_text"]
