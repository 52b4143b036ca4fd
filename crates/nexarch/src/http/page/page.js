// The small page: it knows nothing that the public API does not say.
"use strict";

const POLL_MS = 2000;
const $ = (id) => document.getElementById(id);
const etags = new Map();
let mapUrl = null;
let timer = null;
let round = 0;

function takeKeyFromLink() {
  const match = /^#key=(nex_[0-9A-Za-z_-]+)$/.exec(location.hash);
  if (!match) return;
  sessionStorage.setItem("key", match[1]);
  history.replaceState(null, "", location.pathname + location.search);
}

async function read(path) {
  const headers = { "X-API-Key": sessionStorage.getItem("key") };
  if (etags.has(path)) headers["If-None-Match"] = etags.get(path);
  const response = await fetch(path, { headers, cache: "no-store" });
  if (response.status === 304) return { response, unchanged: true };
  if (!response.ok) {
    const problem = await response.json().catch(() => ({}));
    throw Object.assign(new Error(problem.detail || response.statusText), { status: response.status });
  }
  if (response.headers.has("ETag")) etags.set(path, response.headers.get("ETag"));
  return { response, unchanged: false };
}

const number = (value) => value == null ? "–" : value.toLocaleString("en", { maximumFractionDigits: 0 });
const ms = (value) => value == null ? "–" : value >= 1000 ? `${(value / 1000).toFixed(2)} s` : `${value.toFixed(value < 10 ? 1 : 0)} ms`;
const percent = (value) => value == null ? "–" : `${(value * 100).toFixed(value < 0.1 ? 2 : 1)} %`;

// What a service shares with what it calls need not be read twelve times.
function shortened(id, service) {
  const suffix = service.environment ? `@${service.environment}` : "";
  const prefix = service.namespace ? `${service.namespace}/` : "";
  const name = suffix && id.endsWith(suffix) ? id.slice(0, -suffix.length) : id;
  return prefix && name.startsWith(prefix) ? name.slice(prefix.length) : name;
}

function figures(overview) {
  const shown = [
    ["Services", number(overview.total_services)], ["Requests", number(overview.total_requests)],
    ["Spans", number(overview.total_spans)], ["Average", ms(overview.avg_latency_ms)],
    ["p50", ms(overview.p50_latency_ms)], ["p95", ms(overview.p95_latency_ms)],
    ["p99", ms(overview.p99_latency_ms)], ["Error rate", percent(overview.error_rate)],
  ];
  $("figures").replaceChildren(...shown.map(([name, value]) => {
    const group = document.createElement("div");
    const term = document.createElement("dt");
    const figure = document.createElement("dd");
    term.textContent = name;
    figure.textContent = value;
    group.append(term, figure);
    return group;
  }));
  $("hint").hidden = !overview.hint;
  $("hint").textContent = overview.hint || "";
  const empty = !overview.total_spans && !overview.hint;
  $("empty").hidden = !empty;
  $("map-section").hidden = $("services-section").hidden = !overview.total_spans;
  $("exporter").textContent = [
    `OTEL_EXPORTER_OTLP_ENDPOINT=${location.origin}`, "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf",
    "OTEL_EXPORTER_OTLP_HEADERS=x-api-key=YOUR_KEY", "OTEL_SERVICE_NAME=checkout",
  ].join("\n");
}

function services(list) {
  $("services").replaceChildren(...list.map((service) => {
    const row = document.createElement("tr");
    const cells = [
      [service.name], [service.health_status, service.health_status], [number(service.request_count)], [ms(service.avg_latency_ms)],
      [ms(service.p95_latency_ms)], [percent(service.error_rate), service.error_rate > 0.05 ? "bad" : ""],
      [service.dependencies.map((id) => shortened(id, service)).join(", ") || "–"],
    ];
    for (const [text, tone] of cells) {
      const cell = row.insertCell();
      cell.textContent = text;
      if (tone) cell.className = tone;
      cell.title = text;
    }
    return row;
  }));
}

async function show() {
  const window_ = encodeURIComponent($("window").value);
  const mine = ++round;
  const [overview, list, map] = await Promise.all([
    read(`/api/v1/dashboard/overview?window=${window_}`),
    read(`/api/v1/dashboard/services?window=${window_}`),
    read(`/api/v1/architecture/export?format=svg&window=${window_}`),
  ]);
  if (mine !== round) return;
  if (!overview.unchanged) figures(await overview.response.json());
  if (!list.unchanged) services(await list.response.json());
  if (!map.unchanged) {
    const old = mapUrl;
    mapUrl = URL.createObjectURL(await map.response.blob());
    $("map").src = mapUrl;
    $("map").alt = "Map of services, databases and external systems; the table below lists the same services";
    if (old) URL.revokeObjectURL(old);
  }
  $("live").textContent = `Live, updated ${new Date().toLocaleTimeString()}`;
  $("cache").textContent = `Version ${overview.response.headers.get("Nexarch-Version")}, ${overview.response.headers.get("Cache-Status")}`;
}

async function loop() {
  clearTimeout(timer);
  try {
    await show();
  } catch (error) {
    if (error.status === 401 || error.status === 403) return signIn(error.message);
    $("live").textContent = `Not updated: ${error.message}`;
  }
  timer = setTimeout(loop, document.hidden ? 10 * POLL_MS : POLL_MS);
}

function signIn(why) {
  clearTimeout(timer);
  sessionStorage.removeItem("key");
  etags.clear();
  $("content").hidden = $("sign-out").hidden = true;
  $("sign-in").hidden = false;
  $("refused").textContent = why || "";
  $("live").textContent = "";
  $("key").focus();
}

function start() {
  if (!sessionStorage.getItem("key")) return signIn("");
  $("sign-in").hidden = true;
  $("content").hidden = $("sign-out").hidden = false;
  loop();
}

$("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("key", $("key").value.trim());
  $("key").value = "";
  start();
});
$("zoom").addEventListener("click", () => {
  const full = $("map").classList.toggle("full");
  $("zoom").setAttribute("aria-pressed", String(full));
  $("zoom").textContent = full ? "Fit" : "Full size";
});
$("sign-out").addEventListener("click", () => signIn(""));
$("window").addEventListener("change", () => {
  history.replaceState(null, "", `?window=${$("window").value}`);
  etags.clear();
  loop();
});
window.addEventListener("hashchange", () => { takeKeyFromLink(); start(); });
const wanted = new URLSearchParams(location.search).get("window");
if ([...$("window").options].some((option) => option.value === wanted)) $("window").value = wanted;
takeKeyFromLink();
start();
