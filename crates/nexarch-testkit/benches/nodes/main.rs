//! What several nodes do together, measured: nodes that share one database file, of which none is the owner, and one
//! Redis. Each row stands beside its rival in the same run.
//!
//! `cargo bench -p nexarch-testkit --bench nodes -- NAME...`, where NAME is one of `stampede`, `invalidate`, `frozen`,
//! `freshness`. Each prints rows of a Markdown table.

#[expect(dead_code, reason = "no benchmark cuts a node from its database")]
#[path = "../../tests/nodes/authority.rs"]
mod authority;
mod freshness;
mod frozen;
mod invalidate;
mod raw;
mod rig;
mod row;
mod stampede;

/// Without a name.
const ALL: [&str; 4] = ["stampede", "invalidate", "frozen", "freshness"];

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut names: Vec<String> = std::env::args().skip(1).collect();
    // `cargo bench` says so to every benchmark.
    names.retain(|name| name != "--bench");
    if names.is_empty() {
        names = ALL.map(str::to_owned).to_vec();
    }
    for name in names {
        match name.as_str() {
            "stampede" => stampede::measure().await,
            "invalidate" => invalidate::measure().await,
            "frozen" => frozen::measure().await,
            "freshness" => freshness::measure().await,
            other => panic!("no benchmark {other}; there are {}", ALL.join(", ")),
        }
    }
}
