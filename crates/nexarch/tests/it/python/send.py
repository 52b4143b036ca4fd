"""Spans by the official OpenTelemetry SDK for Python, told what to do by lines on standard input (see senders.rs).

A number makes that many spans in traces of ten and prints their ids; `flush` exports what is waiting and prints whether
that worked. The end of input flushes too. EXPORTER is `grpc` or `http`; the OTEL_* variables say the rest.
"""

import json
import os
import sys

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

if os.environ["EXPORTER"] == "grpc":
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
else:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

processor = BatchSpanProcessor(OTLPSpanExporter(), schedule_delay_millis=100, max_export_batch_size=100)
provider = TracerProvider()
provider.add_span_processor(processor)
tracer = provider.get_tracer("test")


def make(count):
    ids, parent = [], None
    for made in range(count):
        context = None if made % 10 == 0 else trace.set_span_in_context(parent)
        span = tracer.start_span(f"step {made}", context=context)
        parent = span if made % 10 == 0 else parent
        span.end()
        ids.append([f"{span.get_span_context().trace_id:032x}", f"{span.get_span_context().span_id:016x}"])
    return ids


for line in sys.stdin:
    answer = provider.force_flush() if line.strip() == "flush" else make(int(line))
    print(json.dumps(answer), flush=True)
provider.force_flush()
provider.shutdown()
