"""Wrappers and models that configs name."""
