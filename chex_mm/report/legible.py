"""Names as matplotlib draws them, whatever characters they have."""

from __future__ import annotations


def legible(name: str) -> str:
    """A name that is not taken for a formula, which $...$ would be."""
    return name.replace('$', r'\$')
