"""Counts spans, services, traces and calls in OTLP/JSON files, without any code of Nexarch.

Usage: graph.py FILE...   (OTLP/JSON: one request, or one per line; plain or .gz)
Prints one JSON object. Written from the rules R1 and R2 as text, slow and simple on purpose: it is the second opinion
that tests compare the server with, so it shares nothing with the server.
"""

import collections
import gzip
import json
import sys

SIDE = {2: "in", 3: "out", 4: "out", 5: "in"}
ZERO_PARENTS = ("", "0" * 16)
# What tells two senders of one service apart, first found wins.
SENDER = ("service.instance.id", "host.id", "host.name", "k8s.pod.name", "container.id")
PRODUCER, CONSUMER = 4, 5

Span = collections.namedtuple("Span", "trace id parent side kind service sender start end error content")


def requests(path):
    opener = gzip.open if path.endswith(".gz") else open
    with opener(path, "rt", encoding="utf-8") as file:
        text = file.read()
    try:
        return [json.loads(text)]
    except json.JSONDecodeError:
        return [json.loads(line) for line in text.splitlines() if line.strip()]


def string_attributes(owner):
    return {a["key"]: a["value"].get("stringValue") for a in owner.get("attributes", []) if "value" in a}


def spans_of(request):
    for of_resource in request.get("resourceSpans", []):
        resource = string_attributes(of_resource.get("resource", {}))
        service = resource.get("service.name") or "unknown_service"
        sender = next((resource[key] for key in SENDER if resource.get(key)), "")
        for of_scope in of_resource.get("scopeSpans", []):
            for span in of_scope.get("spans", []):
                own, parent = span["spanId"].lower(), span.get("parentSpanId", "").lower()
                yield Span(
                    trace=span["traceId"].lower(),
                    id=own,
                    parent=None if parent in ZERO_PARENTS or parent == own else parent,
                    side=SIDE.get(span.get("kind", 0), "local"),
                    kind=span.get("kind", 0),
                    service=service,
                    sender=sender,
                    start=int(span["startTimeUnixNano"]),
                    end=int(span.get("endTimeUnixNano", 0)),
                    error=span.get("status", {}).get("code") == 2,
                    content=json.dumps(span, sort_keys=True),
                )


def once(spans):
    """R1: each identity once; of several versions the one that ends later, then the failed one."""
    kept = {}
    for span in spans:
        key = (span.trace, span.id, span.side, span.service, span.sender, span.start)
        rank = (span.end, span.error, span.content)
        if key not in kept or rank > kept[key][0]:
            kept[key] = (rank, span)
    return [span for _, span in kept.values()]


def parent_of(span, by_id):
    """R1, last paragraph: which span is meant when an id stands for several."""
    same_id = by_id.get(span.id, [])
    if span.side == "in":
        halves = [s for s in same_id if s.side == "out"]
        if halves:
            return halves[0]
    candidates = by_id.get(span.parent, []) if span.parent else []
    if not candidates:
        return None
    if span.side == "in":
        wanted = [s for s in candidates if s.side == "out"]
    else:
        wanted = [s for s in candidates if s.service == span.service] or [s for s in candidates if s.side == "in"]
    return (wanted or candidates)[0]


def calls_of(trace):
    """R2: calls by (source, target), and how many of them are crossings."""
    by_id = collections.defaultdict(list)
    for span in trace:
        by_id[span.id].append(span)
    calls, self_calls, orphans, paired_through = collections.Counter(), 0, 0, set()
    for span in trace:
        if span.parent and not by_id.get(span.parent):
            orphans += 1
        if span.side != "in":
            continue
        at, seen = parent_of(span, by_id), set()
        while at is not None and at.side == "local" and at.service == span.service and at not in seen:
            seen.add(at)
            at = parent_of(at, by_id)
        if at is None or (at.side != "out" and at.service == span.service):
            continue
        paired_through |= seen
        if span.kind == CONSUMER and at.kind == PRODUCER:
            continue  # drawn over its queue (R7)
        if at.service == span.service:
            self_calls += 1
        else:
            calls[at.service, span.service] += 1
    crossings, siblings = collections.Counter(), set()
    for span in trace:
        parent = parent_of(span, by_id) if span.side != "in" else None
        if parent is None or parent.service == span.service or span in paired_through:
            continue
        if parent.kind != 0:
            if (parent, span.service) in siblings:
                continue
            siblings.add((parent, span.service))
        crossings[parent.service, span.service] += 1
    return calls + crossings, sum(crossings.values()), self_calls, orphans


def main(paths):
    everything = [span for path in paths for request in requests(path) for span in spans_of(request)]
    kept = once(everything)
    traces = collections.defaultdict(list)
    for span in kept:
        traces[span.trace].append(span)
    edges, crossings, self_calls, orphans = collections.Counter(), 0, 0, 0
    for trace in traces.values():
        found, crossed, selves, alone = calls_of(trace)
        edges += found
        crossings += crossed
        self_calls += selves
        orphans += alone
    per_service = collections.Counter(span.service for span in kept)
    print(json.dumps({
        "spans": len(everything),
        "distinct": len(kept),
        "traces": len(traces),
        "services": dict(sorted(per_service.items())),
        "edges": [[a, b, n] for (a, b), n in sorted(edges.items())],
        "crossings": crossings,
        "self_calls": self_calls,
        "orphans": orphans,
        "oldest_start_ns": min((span.start for span in kept), default=0),
        "newest_start_ns": max((span.start for span in kept), default=0),
        "newest_end_ns": max((span.end for span in kept), default=0),
    }))


if __name__ == "__main__":
    main(sys.argv[1:])
