"""Data sets that the project brings along, read by the stock classes."""

from .synthetic import CLASSES, write_shapes

__all__ = ['CLASSES', 'write_shapes']
