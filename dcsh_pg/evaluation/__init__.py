"""How well codes find images of the same class: metrics, reports and plots."""

from dcsh_pg.evaluation.evaluate import ClassScore as ClassScore
from dcsh_pg.evaluation.evaluate import Report as Report
from dcsh_pg.evaluation.evaluate import evaluate as evaluate
from dcsh_pg.evaluation.plots import check_plots as check_plots
from dcsh_pg.evaluation.plots import plot as plot
from dcsh_pg.evaluation.report import print_report as print_report
