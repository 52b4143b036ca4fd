"""Reads a page of figures from standard input with the official client's parsers, and prints the names of families."""

import sys

from prometheus_client import openmetrics, parser
import prometheus_client.openmetrics.parser

page = sys.stdin.buffer.read().decode("utf-8")
parsers = {
    "text": parser.text_string_to_metric_families,
    "openmetrics": openmetrics.parser.text_string_to_metric_families,
}
for family in parsers[sys.argv[1]](page):
    assert family.documentation, family.name
    assert family.type in ("counter", "gauge", "histogram"), (family.name, family.type)
    print(family.name)
