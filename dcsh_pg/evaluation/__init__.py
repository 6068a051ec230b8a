"""How well codes find images of the same class: metrics, reports and plots."""

from dcsh_pg.evaluation.evaluate import ClassScore, Report, evaluate
from dcsh_pg.evaluation.plots import check_plots, plot
from dcsh_pg.evaluation.report import print_report, to_json

__all__ = [
    "ClassScore",
    "Report",
    "check_plots",
    "evaluate",
    "plot",
    "print_report",
    "to_json",
]
