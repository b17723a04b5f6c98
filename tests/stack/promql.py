"""Find the metrics that an expression names."""

import re

FUNCTIONS_AND_WORDS = {
    "and",
    "or",
    "unless",
    "bool",
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
}
QUOTED = re.compile(r'"[^"]*"')
LABELS = re.compile(r"\{[^}]*\}|\[[^\]]*\]")
GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)")
NAME = re.compile(r"(?<![\w.:$])([a-zA-Z_:][\w:]*)\b(?!\s*\()")
SUFFIXES = ("_bucket", "_count", "_sum", "_total")


def metrics(expression: str) -> set[str]:
    """Return the names of the series in a PromQL expression."""
    for pattern in (QUOTED, LABELS, GROUPING):
        expression = pattern.sub(" ", expression)
    return {name for name in NAME.findall(expression) if name not in FUNCTIONS_AND_WORDS}


def family(series: str) -> str:
    """Return the metric that a series belongs to: a histogram's bucket, a counter's total."""
    for suffix in SUFFIXES:
        if series.endswith(suffix):
            return series.removesuffix(suffix)
    return series
