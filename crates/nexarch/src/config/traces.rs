//! `OTEL_*`: where the server's own traces go.

use super::parse::Reader;

/// Below the endpoint of all signals (OpenTelemetry's "OTLP Exporter Configuration").
const PATH: &str = "/v1/traces";

/// Where traces go.
#[derive(Clone)]
pub struct TracesConfig {
    /// The URL that they are posted to.
    pub endpoint: String,
    /// Headers of these requests: secrets.
    pub headers: Vec<(String, String)>,
    /// What the server calls itself.
    pub service: String,
}

/// What the variables say; `None` without an endpoint.
pub(super) fn read(reader: &mut Reader<'_>) -> Option<TracesConfig> {
    let endpoint = reader.value("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint);
    let headers = reader.value("OTEL_EXPORTER_OTLP_HEADERS", headers);
    let service = reader.value("OTEL_SERVICE_NAME", |text| Ok(text.to_owned()));
    Some(TracesConfig { endpoint: endpoint?, headers, service })
}

fn endpoint(text: &str) -> Result<Option<String>, String> {
    if !text.starts_with("http://") && !text.starts_with("https://") {
        return Err("must be a URL, such as http://127.0.0.1:4318".to_owned());
    }
    Ok(Some(format!("{}{PATH}", text.trim_end_matches('/'))))
}

/// `name=value` between commas.
fn headers(text: &str) -> Result<Vec<(String, String)>, String> {
    let pair = |item: &str| {
        let (name, value) = item.split_once('=')?;
        (!name.trim().is_empty()).then(|| (name.trim().to_owned(), value.trim().to_owned()))
    };
    let items = text.split(',').filter(|item| !item.trim().is_empty());
    items.map(pair).collect::<Option<_>>().ok_or_else(|| "must be name=value between commas".to_owned())
}
