// Spans by the official OpenTelemetry SDK for Node.js, told what to do by lines on standard input (see senders.rs):
// a number makes that many spans in traces of ten and prints their ids; `flush` exports what is waiting and prints
// whether that worked. The end of input flushes too.
'use strict';

const readline = require('node:readline');
const { createRequire } = require('node:module');

// The packages are installed elsewhere: nothing is written beside the sources.
const load = createRequire(process.env.PACKAGES + '/');
const { NodeSDK, api, tracing } = load('@opentelemetry/sdk-node');
const { OTLPTraceExporter } = load(`@opentelemetry/exporter-trace-otlp-${process.env.EXPORTER}`);

const processor = new tracing.BatchSpanProcessor(new OTLPTraceExporter(), {
  scheduledDelayMillis: 100,
  maxExportBatchSize: 100,
  exportTimeoutMillis: 60_000,
});
const sdk = new NodeSDK({ spanProcessors: [processor] });
sdk.start();
api.diag.setLogger({ ...console, debug() {}, verbose() {}, info() {} }, api.DiagLogLevel.WARN);
const tracer = api.trace.getTracer('test');

function make(count) {
  const ids = [];
  let parent;
  for (let made = 0; made < count; made += 1) {
    const context = made % 10 === 0 ? api.ROOT_CONTEXT : api.trace.setSpan(api.ROOT_CONTEXT, parent);
    const span = tracer.startSpan(`step ${made}`, {}, context);
    if (made % 10 === 0) parent = span;
    span.end();
    ids.push([span.spanContext().traceId, span.spanContext().spanId]);
  }
  return ids;
}

async function flush() {
  try {
    await processor.forceFlush();
    return true;
  } catch (error) {
    console.error(String(error));
    return false;
  }
}

(async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    console.log(JSON.stringify(line === 'flush' ? await flush() : make(Number(line))));
  }
  await flush();
  await sdk.shutdown();
  process.exit(0);
})();
