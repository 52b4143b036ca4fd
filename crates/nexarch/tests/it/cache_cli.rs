//! `nexarch cache` against servers: what it prints, and what it says when something is wrong.

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    process::Output,
    thread,
};

use nexarch_testkit::ClosedPort;
use serde_json::Value;

use crate::support::{
    client::Client,
    encode::native,
    home::Home,
    openssl::{Authority, KeyForm},
    server::Server,
    spans::call,
    wait,
};

/// Runs `nexarch cache` with a key, and returns exit code, stdout and stderr.
fn cache(home: &Home, key: &str, args: &[&str], settings: &[(&str, &str)]) -> (i32, String, String) {
    let mut command = home.command(["cache"]);
    command.args(args).envs(settings.iter().copied());
    if !key.is_empty() {
        command.env("NEXARCH_API_KEY", key);
    }
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// One that must succeed and say nothing on stderr.
#[track_caller]
fn ok(home: &Home, key: &str, args: &[&str]) -> String {
    let (code, out, err) = cache(home, key, args, &[]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(!out.contains('\x1b'), "no colours where there is no terminal: {out:?}");
    out
}

/// One that must fail with this code; the words that it says.
#[track_caller]
fn wrong(home: &Home, key: &str, code: i32, args: &[&str]) -> String {
    let (found, out, err) = cache(home, key, args, &[]);
    assert_eq!((found, out.as_str()), (code, ""), "{err}");
    assert!(!err.contains("nex_"), "{err}");
    err
}

fn started() -> (Home, Server, String, Client) {
    let home = Home::new();
    let mut server = home.serve();
    let key = server.first_key();
    let client = server.client(&key);
    client.batch(&native(&call(1))).expect(202);
    (home, server, key, client)
}

/// The columns of the line that begins with `name`.
fn row<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let line = text.lines().find(|line| line.split_whitespace().next() == Some(name));
    line.unwrap_or_else(|| panic!("no line {name} in\n{text}")).split_whitespace().collect()
}

#[test]
fn statistics_are_those_of_the_api() {
    let (home, server, key, client) = started();
    for _ in 0..3 {
        client.get("/api/v1/dashboard/services").expect(200);
    }
    let text = ok(&home, &key, &["stats", "--url", server.base()]);
    assert!(text.starts_with("tenant default on node "), "{text}");
    assert!(text.contains(", cache memory since 20"), "{text}");
    let heading = row(&text, "OPERATION").join(" ");
    assert!(heading.starts_with("OPERATION REQUESTS HIT RATIO MEMORY COMPUTED HIT P50"), "{heading}");
    assert_eq!(row(&text, "services")[..6], ["services", "3", "66.7", "%", "2", "1"]);
    assert!(
        row(&text, "services").ends_with(&["1", "ingest,", "now"]) || text.contains("ingest, "),
        "{text}"
    );
    assert_eq!(row(&text, "metrics")[..4], ["metrics", "0", "–", "0"]);
    assert!(text.contains("requests  3, of which 2 hits (66.7 %)"), "{text}");
    assert!(!text.contains("REDIS") && !text.contains("redis "), "{text}");
    let json: Value =
        serde_json::from_str(&ok(&home, &key, &["stats", "--json", "--url", server.base()])).unwrap();
    let api = client.get("/api/v1/cache/stats").ok();
    assert_eq!(
        (&json["totals"], &json["operations"]["services"]),
        (&api["totals"], &api["operations"]["services"])
    );
}

#[test]
fn health_needs_no_key() {
    let (home, server, _, client) = started();
    let text = ok(&home, "", &["health", "--url", server.base()]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines[0], lines[2]), ("healthy          yes", "mode             local"));
    assert!(lines[1].starts_with("cache            memory since 20"), "{text}");
    assert_eq!(lines[3], "staleness bound  0: the only server of its database");
    let json: Value =
        serde_json::from_str(&ok(&home, "", &["health", "--json", "--url", server.base()])).unwrap();
    assert_eq!(json, client.get("/api/v1/cache/health").ok());
}

#[test]
fn values_are_invalidated_by_name_by_pattern_and_all_at_once() {
    let (home, server, key, client) = started();
    let read = |path: &str| client.get(path).expect(200).header("Cache-Status").contains("; hit;");
    let (services, trends) = ("/api/v1/dashboard/services", "/api/v1/dashboard/trends");
    read(services);
    read(trends);
    let url = ["--url", server.base()];
    let run = |args: &[&str]| ok(&home, &key, &[args, &url].concat());
    // What it says, and whether each of them is still a hit.
    let after = |args: &[&str]| wait::promptly(|| (run(args), read(services), read(trends)));
    let (text, services_hit, trends_hit) = after(&["invalidate", "services"]);
    assert!(text.starts_with("invalidated services of tenant default\nversion "), "{text}");
    assert!(text.ends_with("; every node was told\n"), "{text}");
    assert!(!services_hit && trends_hit);
    let (text, services_hit, trends_hit) = after(&["invalidate", "--pattern", "m?tri*"]);
    assert!(text.starts_with("invalidated metrics of tenant default\n"), "{text}");
    assert!(services_hit && !trends_hit);
    let text = run(&["invalidate", "--pattern", "x*"]);
    assert!(text.starts_with("nothing matches \"x*\"; "), "{text}");
    assert!(read(services) && read(trends));
    let (text, services_hit, trends_hit) = after(&["invalidate"]);
    assert!(text.starts_with("invalidated everything of tenant default: "), "{text}");
    assert!(!services_hit && !trends_hit);
    let json: Value = serde_json::from_str(&run(&["invalidate", "services", "--json"])).unwrap();
    assert_eq!((&json["scope"], &json["reach"]), (&"operation".into(), &"cluster".into()));
}

#[test]
fn warming_shows_what_was_computed() {
    let (home, server, key, client) = started();
    let url = ["--url", server.base()];
    let run = |args: &[&str]| ok(&home, &key, &[args, &url].concat());
    let text = run(&["warm", "services", "--window", "6h", "--environment", "a b&c"]);
    assert_eq!(row(&text, "services")[1], "1");
    assert_eq!(row(&text, "services").last(), Some(&"memory"));
    let status = |path: &str| client.get(path).expect(200).header("Cache-Status").to_owned();
    assert!(status("/api/v1/dashboard/services?window=6h&environment=a%20b%26c").contains("; hit;"));
    let text = run(&["warm"]);
    assert_eq!(row(&text, "dashboard_overview")[1], "1", "{text}");
    assert!(text.lines().last().unwrap().contains(" entries with "), "{text}");
    let json: Value = serde_json::from_str(&run(&["warm", "--json"])).unwrap();
    assert_eq!(json["status"], "success");
    let said = wrong(&home, &key, 1, &["warm", "--window", "5y", "--url", server.base()]);
    assert!(said.contains("answers 400 Bad Request: ") && said.contains("24h"), "{said}");
}

#[test]
fn refusals_are_told_in_the_words_of_the_server() {
    let (home, server, key, _) = started();
    let url = server.base();
    let said = wrong(&home, &key, 1, &["invalidate", "dashboard", "--url", url]);
    assert!(said.contains("404 Not Found: ") && said.contains("dashboard_overview"), "{said}");
    let said = wrong(&home, "nex_wrong", 1, &["stats", "--url", url]);
    assert!(said.contains("401 Unauthorized: the API key is unknown"), "{said}");
    let reader = home.key("default", "read");
    ok(&home, &reader, &["stats", "--url", url]);
    let said = wrong(&home, &reader, 1, &["warm", "--url", url]);
    assert!(said.contains("403 Forbidden: ") && said.contains("--scope admin"), "{said}");
    drop(server);
    let server = home.serve_with(&[("CACHE_ENABLED", "False")]);
    let said = wrong(&home, &key, 1, &["warm", "--url", server.base()]);
    assert!(said.contains("409 Conflict: ") && said.contains("CACHE_ENABLED"), "{said}");
    drop(server);
    let server = home.serve_with(&[("RATE_LIMIT_REQUESTS_PER_MINUTE", "1")]);
    ok(&home, &key, &["stats", "--url", server.base()]);
    let said = wrong(&home, &key, 1, &["stats", "--url", server.base()]);
    assert!(said.contains("429 Too Many Requests: ") && said.contains("(try again in "), "{said}");
}

#[test]
fn a_key_comes_from_a_file_before_the_environment_and_a_lack_is_wrong_usage() {
    let (home, server, key, _) = started();
    let file = home.path().join("key");
    let path = file.to_str().unwrap();
    fs::write(&file, format!("{key}\n")).unwrap();
    let url = server.base();
    ok(&home, "", &["stats", "--url", url, "--api-key-file", path]);
    ok(&home, "nex_of_another", &["stats", "--url", url, "--api-key-file", path]);
    let said = wrong(&home, "", 2, &["stats", "--url", url]);
    assert!(said.contains("NEXARCH_API_KEY") && said.contains("nexarch key create"), "{said}");
    for content in ["", "\n", "a\nb"] {
        fs::write(&file, content).unwrap();
        let said = wrong(&home, &key, 2, &["stats", "--url", url, "--api-key-file", path]);
        assert!(said.contains("must hold an API key, in one line"), "{said}");
    }
    wrong(&home, &key, 2, &["stats", "--url", url, "--api-key-file", "/nonexistent"]);
    // What would be another path, another host, or two wishes at once.
    for args in [
        &["invalidate", ".."][..],
        &["warm", "."],
        &["invalidate", ""],
        &["invalidate", "services", "--pattern", "*"],
        &["stats", "--url", "ftp://host"],
        &["watch", "--interval", "0s"],
        &["stats", "--ca-file", "/nonexistent"],
        &["stats", "--ca-file", path],
    ] {
        wrong(&home, &key, 2, args);
    }
}

#[test]
fn https_is_spoken_with_the_systems_authorities_or_with_named_ones() {
    let (home, authority) = (Home::new(), Authority::new(KeyForm::Pkcs8));
    let mut server =
        home.serve_with(&[("TLS_CERT_FILE", &authority.cert()), ("TLS_KEY_FILE", &authority.key())]);
    let (key, url) = (server.first_key(), server.base().to_owned());
    ok(&home, &key, &["stats", "--url", &url, "--ca-file", &authority.ca()]);
    let other = Authority::new(KeyForm::Pkcs8);
    let said = wrong(&home, &key, 1, &["stats", "--url", &url, "--ca-file", &other.ca()]);
    assert!(said.contains("not trusted; --ca-file names one that is"), "{said}");
    // The system's authorities are where this variable says, for every program that follows OpenSSL.
    let (code, _, said) =
        cache(&home, &key, &["stats", "--url", &url], &[("SSL_CERT_FILE", &authority.ca())]);
    assert_eq!(code, 0, "{said}");
    let (code, _, said) = cache(&home, &key, &["stats", "--url", &url], &[("SSL_CERT_FILE", &other.ca())]);
    assert!(code == 1 && said.contains("--ca-file names one that is"), "{code} {said}");
    let plain = url.replace("https", "http");
    let (code, _, said) = cache(&home, &key, &["stats", "--url", &plain], &[]);
    assert!(code == 1 && !said.contains("nex_"), "{code} {said}");
    drop(server);
    // A system without any authority can ask without TLS.
    let server = home.serve();
    let (code, _, said) =
        cache(&home, &key, &["stats", "--url", server.base()], &[("SSL_CERT_FILE", "/dev/null")]);
    assert_eq!(code, 0, "{said}");
    let tls = server.base().replace("http", "https");
    let said = wrong(&home, &key, 1, &["stats", "--url", &tls, "--ca-file", &authority.ca()]);
    assert!(said.contains("try http:// in place of https://"), "{said}");
}

/// Answers one connection with these bytes, and returns what was asked.
fn answering(answer: Vec<u8>) -> (String, thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = vec![0; 8192];
        let length = stream.read(&mut request).unwrap();
        // Who hangs up has read enough.
        let _ = stream.write_all(&answer);
        String::from_utf8_lossy(&request[..length]).into_owned()
    });
    (url, asked)
}

fn reply(status: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

#[test]
fn what_is_no_server_of_ours_is_told_and_obeyed_in_nothing() {
    let home = Home::new();
    let closed = ClosedPort::new();
    let nobody = format!("http://127.0.0.1:{}", closed.port());
    let said = wrong(&home, "nex_k", 1, &["stats", "--url", &nobody]);
    assert!(said.contains("connection refused; is a server running there? (--url"), "{said}");

    let (url, _) = answering(reply("404 Not Found", "<h1>nothing here</h1>"));
    let said = wrong(&home, "nex_k", 1, &["stats", "--url", &url]);
    assert!(said.contains("404 Not Found, and not as Nexarch does; does --url"), "{said}");

    let (url, _) = answering(reply("200 OK", "{\"operations\":[]}"));
    let said = wrong(&home, "nex_k", 1, &["stats", "--url", &url]);
    assert!(said.contains("not that of a Nexarch of this version"), "{said}");

    // A key is for the server that was named: nobody is followed.
    let (elsewhere, asked) = answering(reply("200 OK", "{}"));
    let moved =
        format!("HTTP/1.1 307 Temporary Redirect\r\nlocation: {elsewhere}/\r\ncontent-length: 0\r\n\r\n");
    let (url, first) = answering(moved.into_bytes());
    wrong(&home, "nex_k", 1, &["stats", "--url", &url]);
    assert!(first.join().unwrap().to_lowercase().contains("authorization: bearer nex_k"));
    assert!(!asked.is_finished(), "somebody else was asked");

    // What a terminal would obey is not printed, and no answer is read for ever.
    let hostile = r#"{"type":"about:blank","title":"x","status":403,"detail":"\u001b[2J\u0007gone"}"#;
    let (url, _) = answering(reply("403 Forbidden", hostile));
    let said = wrong(&home, "nex_k", 1, &["stats", "--url", &url]);
    assert!(said.contains("gone") && !said.contains('\x1b') && !said.contains('\x07'), "{said:?}");
    let (url, _) = answering(reply("200 OK", &"x".repeat(5 << 20)));
    wrong(&home, "nex_k", 1, &["stats", "--url", &url]);
}

#[test]
fn every_command_has_help_with_an_example() {
    let home = Home::new();
    for command in ["stats", "health", "invalidate", "warm", "watch"] {
        let text = ok(&home, "", &[command, "--help"]);
        assert!(text.contains(&format!("Example:\n  nexarch cache {command}")), "{text}");
    }
}
