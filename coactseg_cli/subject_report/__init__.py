"""The page of one participant."""

from coactseg_cli.subject_report.report import write_report

__all__ = ["write_report"]
