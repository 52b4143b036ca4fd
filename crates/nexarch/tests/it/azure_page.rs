//! `docs/azure.md` where somebody leans on its words: rights, the way without a key, secrets in a file, and the table of
//! symptoms, each against a server that is wrong in that way. The ten minutes are in `deploy.rs`.

use std::sync::Arc;

use nexarch_testkit::{Certificates, ClosedPort, RedisCluster, RedisServer};

use crate::{
    deploy::read,
    support::{
        home::Home,
        identity::{HEADER, Identity, OID},
    },
};

/// What the doctor prints under these settings, and whether it found all well.
fn doctor(settings: &[(&str, &str)]) -> (bool, String) {
    let home = Home::new();
    let output = home.command(["doctor"]).envs(settings.iter().copied()).output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(!text.contains("hunter2"), "{text}");
    (output.status.success(), text)
}

/// The first column of the table of symptoms.
fn symptoms() -> Vec<String> {
    let page = read("docs/azure.md");
    let table = page.split("| symptom |").nth(1).expect("the table").lines().skip(2);
    let rows = table.take_while(|line| line.starts_with('|'));
    rows.map(|row| row.split('|').nth(1).unwrap().trim().to_owned()).collect()
}

/// Whether the doctor's text shows a symptom: the check and its verdict in one line, and the quoted words somewhere.
fn shows(text: &str, symptom: &str) -> bool {
    let mut codes = symptom.split('`').skip(1).step_by(2);
    let (check, status) = codes.next().unwrap().split_once(' ').unwrap();
    let line = text.lines().find(|line| line.split_whitespace().take(2).eq([status, check]));
    let Some(line) = line else { return false };
    let mut words: Vec<&str> = symptom.split('"').skip(1).step_by(2).collect();
    words.extend(codes.filter(|code| !code.contains('=')));
    words.iter().all(|words| line.contains(words.trim_end_matches(" …")))
}

#[test]
fn each_symptom_of_the_table_is_what_the_doctor_says() {
    let certificates = Arc::new(Certificates::new(&["localhost", "cache.example.com"]));
    let authority = certificates.ca_file();
    let plain = RedisServer::builder().password("hunter2").start();
    let encrypted = RedisServer::builder().tls(&certificates).password("hunter2").start();
    let full = RedisServer::builder().max_memory(64 << 20, "noeviction").start();
    let deaf = RedisServer::builder().user("user app on >hunter2 resetchannels ~nexarch:* +@all").start();
    let mut cluster = RedisCluster::start();
    let cluster_authority = cluster.certificates().ca_file();
    let closed = ClosedPort::new();
    let identity = Identity::start(3600, |_, _| {});
    let ports = [plain.port(), encrypted.port(), closed.port()].map(|port| port.to_string());
    let [plain_port, tls_port, closed_port] = ports.each_ref().map(String::as_str);
    let of_cluster = format!("rediss://:{}@localhost:{}", cluster.password(), cluster.port());
    let (full_url, deaf_url) =
        (format!("redis://{}", full.address()), format!("redis://app:hunter2@{}", deaf.address()));
    let (ca, cluster_ca) = (authority.to_str().unwrap(), cluster_authority.to_str().unwrap());
    let at = |host, port, ssl| vec![("REDIS_HOST", host), ("REDIS_PORT", port), ("REDIS_SSL", ssl)];
    let mut cases: Vec<(&str, Vec<(&str, &str)>)> = vec![
        ("`redis.dns failed`", at("nowhere.invalid", "6379", "False")),
        ("`redis.tcp failed`, refused", at("127.0.0.1", closed_port, "False")),
        ("`redis.tls failed`, \"speaks Redis without TLS\"", at("localhost", plain_port, "True")),
        ("`redis.login failed`, \"speaks TLS only\"", at("localhost", tls_port, "False")),
        ("`redis.tls failed`, \"certificate is for …\"", at("127.0.0.1", tls_port, "True")),
        ("`redis.login failed`, `WRONGPASS`", at("localhost", tls_port, "True")),
        ("`redis.login failed`, \"no token\"", at("localhost", tls_port, "True")),
        ("`redis.login failed` with `REDIS_AUTH=entra`, `WRONGPASS`", at("localhost", tls_port, "True")),
        ("`redis.cluster failed`, \"mode says standalone\"", vec![("REDIS_URL", &of_cluster)]),
        ("`redis.cluster failed`, primaries not reached", vec![("REDIS_URL", &of_cluster)]),
        ("`redis.memory warning`, `noeviction`", vec![("REDIS_URL", &full_url)]),
        ("`redis.messages warning`", vec![("REDIS_URL", &deaf_url)]),
    ];
    // A firewall that drops is not at hand; the last two are not the doctor's.
    let others = ["`redis.tcp failed`, no answer", "start line `fallback: REASON`", "hits stay low"];
    for row in symptoms() {
        let known = cases.iter().any(|(symptom, _)| *symptom == row) || others.contains(&row.as_str());
        assert!(known, "nothing shows the row {row}");
    }
    for (symptom, settings) in &mut cases {
        assert!(symptoms().iter().any(|row| row == symptom), "the page has no {symptom}");
        if settings.contains(&("REDIS_SSL", "True")) {
            settings.push(("REDIS_CA_FILE", ca));
        }
        match *symptom {
            "`redis.login failed`, `WRONGPASS`" => settings.push(("REDIS_PASSWORD", "wrong")),
            "`redis.login failed`, \"no token\"" => settings.extend([
                ("REDIS_AUTH", "entra"),
                ("IDENTITY_ENDPOINT", identity.url.as_str()),
                ("IDENTITY_HEADER", "other"),
                ("REDIS_CONNECT_TIMEOUT_MS", "3000"),
            ]),
            "`redis.login failed` with `REDIS_AUTH=entra`, `WRONGPASS`" => settings.extend([
                ("REDIS_AUTH", "entra"),
                ("IDENTITY_ENDPOINT", identity.url.as_str()),
                ("IDENTITY_HEADER", HEADER),
            ]),
            "`redis.cluster failed`, \"mode says standalone\"" => {
                settings.extend([("REDIS_MODE", "standalone"), ("REDIS_CA_FILE", cluster_ca)]);
            }
            "`redis.cluster failed`, primaries not reached" => {
                settings.push(("REDIS_CA_FILE", cluster_ca));
                cluster.nodes()[2].kill();
            }
            _ => {}
        }
        let (well, text) = doctor(settings);
        assert_eq!(well, symptom.contains("warning"), "{symptom}: {text}");
        assert!(shows(&text, symptom), "{symptom}: {text}");
    }
}

/// What the security checklist gives a user is enough for everything that the doctor looks at.
#[test]
fn the_rights_of_the_checklist_are_enough() {
    let page = read("docs/azure.md");
    let start = page.find("`+@read ").expect("the rights");
    let rights = page[start + 1..].split('`').next().unwrap();
    let redis = RedisServer::builder().user(&format!("user app on >hunter2 resetchannels {rights}")).start();
    let url = format!("redis://app:hunter2@{}", redis.address());
    let (well, text) = doctor(&[("REDIS_URL", &url)]);
    let of_redis: Vec<_> = text.lines().filter(|line| line.contains(" redis.")).collect();
    assert!(well && of_redis.len() == 10, "{text}");
    // How quick the machine is, is not looked at.
    let fine = |line: &str| line.starts_with("ok ") || line.starts_with("warning  redis.latency ");
    assert!(of_redis.iter().all(|line| fine(line)), "{text}");
    let (_home, _server, line) = Home::started(&[("REDIS_URL", &url)]);
    assert!(line.starts_with("cache: Redis initialized ("), "{line}");
    let listens = || {
        let channels = redis.cli(&["PUBSUB", "CHANNELS"]);
        (channels.contains("AzureRedisEvents") && channels.contains("nexarch:versions")).then_some(())
    };
    crate::support::wait::until("both channels", listens);
}

/// No key at all: a host, `REDIS_AUTH=entra`, and the identity that the platform gives. (Port and authority are those of a
/// service that stands in for Azure's.)
#[test]
fn without_a_key_a_host_and_an_identity_are_enough() {
    assert!(read("docs/azure.md").contains("`REDIS_AUTH=entra`, and nothing else"));
    let certificates = Arc::new(Certificates::new(&["localhost"]));
    let user = format!("user {OID} on >none ~nexarch:* &nexarch:* +@all");
    let redis = Arc::new(RedisServer::builder().tls(&certificates).password("admin").user(&user).start());
    // The endpoint outlives the test; the server must not.
    let told = Arc::downgrade(&redis);
    let identity = Identity::start(3600, move |token, _| {
        told.upgrade().unwrap().cli(&["ACL", "SETUSER", OID, "resetpass", &format!(">{token}")]);
    });
    let (port, authority) = (redis.port().to_string(), certificates.ca_file());
    let settings = [
        ("REDIS_HOST", "localhost"),
        ("REDIS_AUTH", "entra"),
        ("REDIS_PORT", port.as_str()),
        ("REDIS_SSL", "True"),
        ("REDIS_CA_FILE", authority.to_str().unwrap()),
        ("IDENTITY_ENDPOINT", identity.url.as_str()),
        ("IDENTITY_HEADER", HEADER),
    ];
    let (well, text) = doctor(&settings);
    // "says whose token it got and whether Redis takes it"
    assert!(well && text.contains("the token's user"), "{text}");
}

/// A secret in a file is the secret: `REDIS_URL_FILE`, as the page has it.
#[test]
fn a_connection_string_in_a_file_is_taken_as_it_is() {
    assert!(read("docs/azure.md").contains("`REDIS_URL_FILE=/run/secrets/redis-url`"));
    let redis = RedisServer::builder().password("p+/Kd0e=").start();
    let home = Home::new();
    let file = home.path().join("redis-url");
    std::fs::write(&file, format!("{},password=p+/Kd0e=,abortConnect=False\n", redis.address())).unwrap();
    let (well, text) = doctor(&[("REDIS_URL_FILE", file.to_str().unwrap())]);
    assert!(well && !text.contains("Kd0e"), "{text}");
}
