"""What a run did, as one page and its pictures; see `write_report`."""

from .writing import Request, report_at_end, write_report

__all__ = ['Request', 'report_at_end', 'write_report']
