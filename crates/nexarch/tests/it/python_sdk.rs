//! The official OpenTelemetry SDK for Python as it comes from its package index: two processes, two services.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use crate::support::{
    client::Client,
    home::Home,
    map::Map,
    oracle::{beside, python},
    server::Server,
    wait,
};

const REQUESTS: u64 = 7;

/// One instrumented Flask process. It serves until its standard input closes, then flushes and ends.
struct Flask {
    child: Child,
    base: String,
}

impl Flask {
    fn start(server: &Server, key: &str, service: &str, settings: &[(&str, &str)]) -> Self {
        let mut child = Command::new(python())
            .arg(beside("python/service.py"))
            .env("OTEL_SERVICE_NAME", service)
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", server.base())
            .env("OTEL_EXPORTER_OTLP_HEADERS", format!("X-API-Key={key}"))
            .envs(settings.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut base = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut base).unwrap();
        assert!(base.starts_with("http://"), "{service} did not start: {base:?}");
        Self { child, base: base.trim().to_owned() }
    }

    /// Asks it to flush and waits until it has.
    fn finish(mut self) {
        drop(self.child.stdin.take());
        let status = wait::until("the end of a Python process", || self.child.try_wait().unwrap());
        assert!(status.success(), "{status}");
    }
}

impl Drop for Flask {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn two_python_services_and_the_call_between_them_are_on_the_map() {
    // The old attribute names are what the SDK sends by default, the new ones what it will send.
    for settings in
        [&[][..], &[("OTEL_SEMCONV_STABILITY_OPT_IN", "http"), ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")]]
    {
        let home = Home::new();
        let mut server = home.serve();
        let key = server.first_key();
        let stock = Flask::start(&server, &key, "stock", settings);
        let shop = Flask::start(&server, &key, "shop", &[settings, &[("DOWNSTREAM", &stock.base)]].concat());
        let customer = Client::new(&shop.base, None);
        for item in 0..REQUESTS {
            customer.get(&format!("/buy/{item}")).expect(200);
        }
        shop.finish();
        stock.finish();

        let client = server.client(&key);
        // Each request: SERVER and CLIENT of the shop, SERVER of the stock.
        assert_eq!(client.total_spans(), 3 * REQUESTS);
        let map = Map::read(&client);
        assert_eq!(map.services().into_iter().collect::<Vec<_>>(), ["shop", "stock"]);
        let calls: Vec<_> = map.calls().into_iter().collect();
        assert_eq!(calls, [(("shop".to_owned(), "stock".to_owned()), REQUESTS)]);
        // The known service is not drawn a second time as the host that the client span names.
        assert!(map.others().iter().all(|(kind, _)| kind == "user"), "{:?}", map.others());
    }
}
