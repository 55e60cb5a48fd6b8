"""Which kernels of the table have a test."""

COVERED = set()


def covers(target, part='forward'):
    """Declares what the decorated test checks; `None` for plain functions."""
    COVERED.add((target, part))
    return lambda test: test
