//! What a look inside shows: a span around each tier, and nothing of whom or of what a read was.

use crate::cluster::cluster;
use nexarch_cache::Directives;
use std::io;
use std::sync::{Arc, Mutex, OnceLock};
use tracing_subscriber::fmt::format::FmtSpan;

/// What was written, by all threads of a test.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn each_tier_is_a_span_and_none_tells_whom_it_served() {
    // One subscriber alone would leave it to the first thread at a span whether any thread is asked again.
    static SECOND: OnceLock<tracing::Dispatch> = OnceLock::new();
    SECOND.get_or_init(|| tracing::Dispatch::new(tracing_subscriber::fmt().with_writer(io::sink).finish()));
    let written = Written::default();
    let copy = written.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_span_events(FmtSpan::CLOSE)
        .with_ansi(false)
        .with_writer(move || copy.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let cluster = cluster(2);
    let [one, other] = &cluster.nodes[..] else { panic!() };
    one.read().await.unwrap();
    one.read_with(Directives::default()).await.unwrap();
    other.read().await.unwrap();
    let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
    for span in [
        r#"memory{operation="overview" found=true}"#,
        r#"redis{otel.kind="client" db.system.name="redis" db.operation.name="get"}"#,
        r#"redis{otel.kind="client" db.system.name="redis" db.operation.name="set"}"#,
        r#"compute{operation="overview"}"#,
        "authority{scopes=1}",
    ] {
        assert!(text.contains(span), "no {span}:\n{text}");
    }
    assert!(!text.contains("acme") && !text.contains("window=24h"), "{text}");
}
