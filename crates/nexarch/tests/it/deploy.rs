//! The files of `deploy/` and the pages that lead through them: their variables are the program's, their settings start it,
//! and their shell lines do what they say, against servers that behave as Azure's are documented to.

use std::{
    net::TcpListener,
    path::PathBuf,
    process::{Command, Output},
    sync::Arc,
};

use nexarch::config::VARIABLES;
use nexarch_testkit::{Certificates, RedisCluster, RedisServer};

use crate::support::{home::Home, server::Server, wait};

const FILES: [&str; 4] =
    ["deploy/Dockerfile", "deploy/compose.yaml", "deploy/kubernetes/nexarch.yaml", "deploy/azure/main.bicep"];

/// Other programs' names of that form in these files.
const NOT_OURS: [&str; 9] =
    ["FROM", "RUN", "COPY", "USER", "WORKDIR", "VOLUME", "EXPOSE", "ENTRYPOINT", "REDISCLI_AUTH"];

/// The text of a file of the project.
pub(crate) fn read(name: &str) -> String {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What stands where the file sets a variable: `NAME=…`, `NAME: …` or `{ name: 'NAME', …`, at the beginning of a line.
fn variables(text: &str) -> Vec<(String, String)> {
    let of_line = |line: &str| {
        let line = line.trim().trim_start_matches("ENV ").trim_start_matches("{ name: '");
        let end = line.find(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'))?;
        let (name, rest) = line.split_at(end);
        let value = rest.strip_prefix(['=', ':', '\''])?.trim_start_matches(", value: '");
        let value = value.trim().trim_end_matches('\\').trim().trim_end_matches("' }").trim_matches('"');
        (name.len() >= 4 && !NOT_OURS.contains(&name)).then(|| (name.to_owned(), value.to_owned()))
    };
    text.lines().filter(|line| !line.trim_start().starts_with(['#', '/'])).filter_map(of_line).collect()
}

#[test]
fn every_variable_is_one_that_this_build_acts_on() {
    for file in FILES {
        let set = variables(&read(file));
        assert!(set.len() >= 5, "{file}: {set:?}");
        for (name, _) in set {
            let of_file = name.strip_suffix("_FILE");
            let known = VARIABLES.iter().find(|known| known.name == name || Some(known.name) == of_file);
            let known = known.unwrap_or_else(|| panic!("{file}: {name} is no variable"));
            assert!(known.supported, "{file}: {name} has no effect in this build");
            assert!(known.name == name || known.secret, "{file}: {name} is read from no file");
        }
    }
}

/// The shell command of the health check, as Docker runs it.
fn health_check(dockerfile: &str) -> Vec<String> {
    let at = dockerfile.find("CMD [\"bash\"").expect("a health check");
    let line = dockerfile[at..].lines().next().unwrap().trim_start_matches("CMD ");
    serde_json::from_str(line).expect("a JSON array, or Docker would take it for a shell line")
}

#[test]
fn the_image_starts_a_server_that_its_health_check_finds() {
    let dockerfile = read("deploy/Dockerfile");
    let home = Home::new();
    let mut command = home.command(["serve"]);
    for (name, value) in variables(&dockerfile) {
        let value = value.replace("/data", home.path().to_str().unwrap());
        // Tests run side by side, so no fixed port is taken.
        let value = if name == "PORT" {
            "0".to_owned()
        } else {
            value.replace(":431", ":0#").replace(":9464", ":0#").split('#').next().unwrap().to_owned()
        };
        command.env(name, value);
    }
    let server = Server::start(&mut command);
    let port = server.base().rsplit(':').next().unwrap().to_owned();
    assert!(home.path().join("nexarch.db").is_file());
    // It is written after the line that says that the server listens.
    let key = home.path().join("nexarch-first-key");
    wait::until("the key where the file says", || key.is_file().then_some(()));
    let check = health_check(&dockerfile);
    let asked = |port: &str| {
        let output = Command::new(&check[0]).args(&check[1..]).env("PORT", port).output().unwrap();
        output.status.code()
    };
    assert_eq!(asked(&port), Some(0));
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    assert_ne!(asked(&closed.to_string()), Some(0));
}

/// The shell blocks of a page, with the indentation of its lists taken away.
fn blocks(page: &str) -> Vec<String> {
    let inside = page.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    inside.map(|block| block.lines().map(str::trim_start).collect::<Vec<_>>().join("\n")).collect()
}

fn shell(home: &Home, script: &str) -> Output {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_nexarch"));
    let mut path = program.parent().unwrap().as_os_str().to_owned();
    path.push(":/usr/local/bin:/usr/bin:/bin");
    let mut command = Command::new("bash");
    command.args(["-euc", script]).current_dir(home.path()).env_clear().env("PATH", path);
    command.output().unwrap()
}

/// Follows the page: its line that sets `REDIS_URL` with the emulated server in place of the service, then what it says to
/// run. `line` is the start line that the page promises, with the emulated server's own name and port.
fn follow(host: &str, port: u16, key: &str, certificates: &Certificates, line: &str) {
    let page = read("docs/azure.md");
    let blocks = blocks(&page);
    let setting = blocks
        .iter()
        .flat_map(|block| block.lines())
        .find(|set| set.starts_with("export REDIS_URL='") && set.contains(&format!("'{host}")));
    let setting = setting.unwrap_or_else(|| panic!("no line for {host}"));
    let setting = setting.replace(host, &format!("localhost:{port}")).replace("KEY", key);
    let home = Home::new();
    let authority = certificates.ca_file();
    let setting = format!("export REDIS_CA_FILE={}\n{setting}", authority.display());
    assert!(page.contains("nexarch doctor\n"));
    let output = shell(&home, &format!("{setting}\nnexarch doctor"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && !said.contains("failed"), "{said}");
    let url = setting.split_once("REDIS_URL='").unwrap().1.trim_end_matches('\'').to_owned();
    let settings = [("REDIS_CA_FILE", authority.to_str().unwrap()), ("REDIS_URL", url.as_str())];
    let (_home, _server, said) = Home::started(&settings);
    let promised = format!("initialized (localhost:{port}, TLS, {line})");
    assert!(said.ends_with(&promised), "{promised}: {said}");
    assert!(page.contains(&format!("initialized ({host}, TLS, {line})")), "the page promises that line");
}

#[test]
fn the_ten_minutes_to_azure_managed_redis() {
    let cluster = RedisCluster::start();
    let host = "NAME.REGION.redis.azure.net:10000";
    follow(host, cluster.port(), cluster.password(), cluster.certificates(), "cluster");
}

#[test]
fn the_ten_minutes_to_azure_cache_for_redis() {
    let certificates = Arc::new(Certificates::new(&["localhost"]));
    let key = "p+/Kd0eFq1aBcD0123456789=";
    let blocked = ["CONFIG", "DEBUG", "MIGRATE", "SAVE", "BGSAVE", "BGREWRITEAOF", "SLAVEOF", "SHUTDOWN"];
    let server = RedisServer::builder()
        .tls(&certificates)
        .password(key)
        .max_memory(256 << 20, "allkeys-lru")
        .without(&blocked)
        .start();
    follow("NAME.redis.cache.windows.net:6380", server.port(), key, &certificates, "standalone");
    // The line for redis-cli, which both pages show.
    for page in ["docs/azure.md", "docs/from-python.md"] {
        let line =
            blocks(&read(page)).into_iter().find(|block| block.contains("REDISCLI_AUTH=")).expect("the line");
        let line = line
            .replace("NAME.redis.cache.windows.net", "localhost")
            .replace("6380", &server.port().to_string())
            .replace("REDISCLI_AUTH=KEY", &format!("REDISCLI_AUTH='{key}'"))
            .replace("--tls", &format!("--tls --cacert {}", certificates.ca_file().display()));
        let output = shell(&Home::new(), &line);
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "PONG", "{page}: {line}\n{output:?}");
    }
}
