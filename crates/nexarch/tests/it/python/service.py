"""A Flask service with the official OpenTelemetry SDK, configured by OTEL_* variables only.

Serves on a free port, prints its address as the first line, and ends when standard input closes: first the server,
then the flush of what it still has to export. With DOWNSTREAM set it calls that service for every request.
"""

import os
import sys
import threading

import requests
from flask import Flask
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from werkzeug.serving import make_server

provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(provider)

app = Flask(__name__)
FlaskInstrumentor().instrument_app(app)
RequestsInstrumentor().instrument()

DOWNSTREAM = os.environ.get("DOWNSTREAM")


@app.get("/buy/<int:item>")
def buy(item):
    if DOWNSTREAM:
        requests.get(f"{DOWNSTREAM}/buy/{item}", timeout=10).raise_for_status()
    return {"item": item}


server = make_server("127.0.0.1", 0, app, threaded=True)
threading.Thread(target=server.serve_forever).start()
print(f"http://127.0.0.1:{server.port}", flush=True)
sys.stdin.read()
server.shutdown()
flushed = provider.force_flush()
provider.shutdown()
sys.exit(0 if flushed else 1)
