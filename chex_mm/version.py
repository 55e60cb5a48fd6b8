"""The version of chex_mm, read by `setup.py` without importing the package.

It changes with every release and nowhere else.
"""

__version__ = '0.1.0'
