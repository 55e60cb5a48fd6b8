"""What a run did, as one page and its pictures; see `write_report`."""

from .writing import STAGES, Request, report_at_end, write_report

__all__ = ['STAGES', 'Request', 'report_at_end', 'write_report']
