"""The report of an evaluation: rows to tables, plots, pictures, one page and its exports. Scores nothing; loads neither torch nor ants."""

from coactseg_cli.evaluate_report.report import PAGE_NAME, write_report

__all__ = ["PAGE_NAME", "write_report"]
