//! Wrong configuration is told whole, at once, and without secrets.

use crate::support::{home::Home, wait};

#[test]
fn every_problem_is_listed_in_one_go_without_secrets() {
    let home = Home::new();
    let output = home
        .command(["serve"])
        .env("PORT", "eighty")
        .env("CACHE_ENABLED", "perhaps")
        .env("CACHE_TTL_SECONDS", "-5")
        .env("CACHE_TTL_SECONDS_NO_SUCH_OPERATION", "5")
        .env("OTLP_HTTP_ADDR", "nowhere")
        .env("DATABASE_URL", "mysql://user:opensesame@host/db")
        .env("LOG_FORMAT", "xml")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(64), "{output:?}");
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    let names = [
        "PORT",
        "CACHE_ENABLED",
        "CACHE_TTL_SECONDS ",
        "NO_SUCH_OPERATION",
        "OTLP_HTTP_ADDR",
        "DATABASE_URL",
    ];
    for name in names.iter().chain(&["LOG_FORMAT"]) {
        assert!(text.contains(name), "{name} is not named in:\n{text}");
    }
    assert!(!text.contains("opensesame"), "{text}");
    assert!(!home.database().exists(), "nothing is made before the configuration is right");
}

#[test]
fn a_prefix_wins_and_an_empty_value_is_unset() {
    let home = Home::new();
    let output = home
        .command(["serve", "--print-config"])
        .env("PORT", "")
        .env("CACHE_TTL_SECONDS", "60")
        .env("NEXARCH_CACHE_TTL_SECONDS", "77")
        .env("REDIS_PASSWORD", "opensesame")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let (config, log) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(config.contains("CACHE_TTL_SECONDS=77"), "{config}");
    assert!(config.contains("PORT=8000"), "{config}");
    assert!(!config.contains("opensesame") && !log.contains("opensesame"), "{config}\n{log}");
    assert!(!home.database().exists(), "printing opens nothing");
}

#[test]
fn a_mistyped_name_is_a_warning_with_the_right_one() {
    let home = Home::new();
    let server = home.serve_with(&[("CACHE_TTL_SECOND", "5"), ("REDIS_PASWORD", "opensesame")]);
    for right in ["CACHE_TTL_SECONDS", "REDIS_PASSWORD"] {
        wait::until("the warning", || server.log().contains(&format!("did you mean {right}")).then_some(()));
    }
    assert!(!server.log().contains("opensesame"));
}

#[test]
fn files_are_weaker_than_the_environment() {
    let home = Home::new();
    std::fs::write(home.path().join(".env"), "CACHE_TTL_SECONDS=61\nCACHE_NAMESPACE=dotenv\n").unwrap();
    std::fs::write(home.path().join("nexarch.toml"), "cache_namespace = \"toml\"\nretention_days = 3\n")
        .unwrap();
    let output = home.command(["serve", "--print-config"]).env("CACHE_TTL_SECONDS", "62").output().unwrap();
    let config = String::from_utf8(output.stdout).unwrap();
    for line in ["CACHE_TTL_SECONDS=62", "CACHE_NAMESPACE=dotenv", "RETENTION_DAYS=3"] {
        assert!(config.contains(line), "{line} in\n{config}");
    }
}

#[test]
fn wrong_usage_is_told_from_failure() {
    let home = Home::new();
    for args in [
        &["serve", "--no-such-flag"][..],
        &["import"],
        &["tenant", "create", "Not An Id"],
        &["no-such-command"],
    ] {
        assert_eq!(home.output(args.iter().copied()).status.code(), Some(2), "{args:?}");
    }
    assert_eq!(home.output(["key", "revoke", "key_unknown"]).status.code(), Some(1));
    assert_eq!(home.output(["key", "create", "--tenant", "nobody"]).status.code(), Some(1));
    let help = home.output(["import", "--help"]);
    assert!(String::from_utf8(help.stdout).unwrap().contains("Example"));
}
