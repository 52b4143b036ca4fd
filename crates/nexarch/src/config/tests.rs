use super::*;

fn layer(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn from_environment(pairs: &[(&str, &str)]) -> Result<Config, Problems> {
    load(&Sources::default().layer("flag", BTreeMap::new()).layer("environment", layer(pairs)))
}

fn ttl(config: &Config, name: &str) -> u64 {
    config.cache.operations.iter().find(|operation| &*operation.name == name).unwrap().ttl.as_secs()
}

#[test]
fn nothing_set_is_a_valid_configuration() {
    let config = from_environment(&[]).unwrap();
    assert_eq!((config.host.as_str(), config.port), ("127.0.0.1", 8000));
    assert_eq!(config.database_url.file(), Some(PathBuf::from("nexarch.db")));
    assert_eq!((ttl(&config, "dashboard_overview"), ttl(&config, "architecture_map")), (120, 300));
    assert_eq!(config.max_body_bytes, 64 << 20);
    assert!(config.is_loopback() && config.warnings.is_empty(), "{:?}", config.warnings);
    assert!(!config.otlp_http.asked_for);
}

#[test]
fn stronger_sources_win_and_the_prefixed_name_wins_in_its_source() {
    let sources = Sources::default()
        .layer("flag", layer(&[("PORT", "1")]))
        .layer("environment", layer(&[("PORT", "2"), ("HOST", "::1"), ("NEXARCH_HOST", "127.0.0.2")]))
        .layer(".env", layer(&[("RETENTION_DAYS", "3"), ("HOST", "10.0.0.1")]))
        .layer("nexarch.toml", layer(&[("RETENTION_DAYS", "4"), ("MAX_BODY_MB", "5")]));
    let config = load(&sources).unwrap();
    assert_eq!((config.port, config.host.as_str()), (1, "127.0.0.2"));
    assert_eq!(config.retention, Duration::from_hours(72));
    assert_eq!(config.max_body_bytes, 5 << 20);
    assert!(config.print().contains("PORT=1"), "{}", config.print());
    assert!(
        config.print().lines().any(|line| line.starts_with("RETENTION_DAYS=3") && line.ends_with("# .env"))
    );
}

#[test]
fn an_empty_value_is_unset() {
    let sources = Sources::default()
        .layer("environment", layer(&[("PORT", ""), ("HOST", "  ")]))
        .layer(".env", layer(&[("PORT", "9")]));
    let config = load(&sources).unwrap();
    assert_eq!((config.port, config.host.as_str()), (9, "127.0.0.1"));
}

#[test]
fn all_problems_are_told_at_once_without_secrets() {
    let url = "mysql://root:hunter2@db/x";
    let problems = from_environment(&[
        ("PORT", "99999"),
        ("CACHE_ENABLED", "maybe"),
        ("DATABASE_URL", url),
        ("RETENTION_DAYS", "0"),
        ("CACHE_TTL_SECONDS_DASHBORD", "60"),
        ("OTLP_HTTP_ADDR", "4318"),
        ("LOG_FORMAT", "xml"),
        ("TLS_CERT_FILE", "/x.pem"),
    ])
    .err()
    .unwrap();
    assert_eq!(problems.0.len(), 8, "{problems}");
    let text = problems.to_string();
    for name in [
        "PORT",
        "CACHE_ENABLED",
        "DATABASE_URL",
        "RETENTION_DAYS",
        "CACHE_TTL_SECONDS_DASHBORD",
        "TLS_CERT_FILE",
    ] {
        assert!(text.contains(name), "{name} is missing in {text}");
    }
    assert!(text.contains("dashboard_overview"), "an unknown operation names the known ones: {text}");
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn operations_have_their_own_ttl() {
    let config =
        from_environment(&[("CACHE_TTL_SECONDS", "30"), ("CACHE_TTL_SECONDS_SERVICES", "7")]).unwrap();
    assert_eq!(ttl(&config, "services"), 7);
    assert_eq!(ttl(&config, "architecture_map"), 30);
    assert_eq!(ttl(&config, "dashboard_overview"), 120);
}

#[test]
fn mistyped_and_unsupported_names_are_warned_about() {
    let config = from_environment(&[
        ("CACHE_TTL_SECOND", "5"),
        ("REDIS_HOTS", "x"),
        ("CORS_ORIGINS", "http://localhost"),
        ("PATH", "/bin"),
        ("NEXARCH_API_KEY", "nex_x"),
    ])
    .unwrap();
    let text = config.warnings.join("\n");
    assert_eq!(config.warnings.len(), 3, "{text}");
    assert!(text.contains("did you mean CACHE_TTL_SECONDS?"), "{text}");
    assert!(text.contains("did you mean REDIS_HOST?"), "{text}");
    assert!(text.contains("CORS_ORIGINS (environment) has no effect"), "{text}");
}

#[test]
fn a_secret_comes_from_a_file_and_is_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("url");
    std::fs::write(&path, "sqlite:///tmp/secret-place.db\n").unwrap();
    let path = path.to_str().unwrap();
    let config = from_environment(&[("DATABASE_URL_FILE", path)]).unwrap();
    assert_eq!(config.database_url.file(), Some(PathBuf::from("/tmp/secret-place.db")));
    assert!(!format!("{:?}", config.database_url).contains("secret-place"));
    let missing = from_environment(&[("DATABASE_URL_FILE", "/nonexistent")]).err().unwrap();
    assert!(missing.to_string().contains("DATABASE_URL_FILE"), "{missing}");
}

#[test]
fn files_of_a_folder_are_read() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(".env"), "PORT=4000\n# comment\nHOST='::1'\n").unwrap();
    std::fs::write(folder.path().join("nexarch.toml"), "retention_days = 2\ncache_enabled = false\n")
        .unwrap();
    let config = load(&Sources::of_process(BTreeMap::new(), folder.path())).unwrap();
    assert_eq!((config.port, config.host.as_str()), (4000, "::1"));
    assert_eq!(config.retention, Duration::from_hours(48));
    assert!(!config.cache.enabled);
    std::fs::write(folder.path().join("nexarch.toml"), "password = 'hunter2\n").unwrap();
    let flags = flags([("PORT", Some("x".to_owned()))]);
    let Problems(problems) = load(&Sources::of_process(flags, folder.path())).err().unwrap();
    assert!(problems[0].starts_with("nexarch.toml") && !problems[0].contains("hunter2"), "{problems:?}");
    assert!(problems[1].starts_with("PORT"), "a broken file hides nothing else: {problems:?}");
}

#[test]
fn a_body_larger_than_all_bodies_is_refused() {
    let problems = from_environment(&[("MAX_BODY_MB", "512"), ("PORT", "x")]).err().unwrap();
    assert_eq!(problems.0.len(), 2, "told together with the rest: {problems}");
}

#[test]
fn objectives_are_a_time_and_a_share() {
    let config = from_environment(&[]).unwrap();
    assert_eq!((config.latency_objective.as_millis(), config.availability_objective), (1_000, 0.99));
    let config =
        from_environment(&[("LATENCY_OBJECTIVE_MS", "250"), ("AVAILABILITY_OBJECTIVE", "0.999")]).unwrap();
    assert_eq!((config.latency_objective.as_millis(), config.availability_objective), (250, 0.999));
    assert!(config.print().contains("AVAILABILITY_OBJECTIVE=0.999"), "{}", config.print());
    assert_eq!(config.warnings, [""; 0]);
    for wrong in ["1", "99", "0.49", "-1", "NaN", "99 %"] {
        let Problems(problems) = from_environment(&[("AVAILABILITY_OBJECTIVE", wrong)]).err().unwrap();
        assert!(
            problems[0].contains("AVAILABILITY_OBJECTIVE") && problems[0].contains("0.999"),
            "{problems:?}"
        );
    }
}

#[test]
fn operations_that_come_later_are_warned_about() {
    let config = from_environment(&[("CACHE_TTL_SECONDS_AI_INSIGHTS", "60")]).unwrap();
    assert!(config.warnings[0].contains("AI_INSIGHTS"), "{:?}", config.warnings);
}

#[test]
fn parameters_of_a_database_url_are_refused_and_not_shown() {
    let problems = from_environment(&[("DATABASE_URL", "sqlite:///x.db?password=hunter2")]).err().unwrap();
    assert!(!problems.to_string().contains("hunter2"), "{problems}");
    assert!(!format!("{:?}", Found { value: "hunter2".into(), origin: "flag".into() }).contains("hunter2"));
}

#[test]
fn other_hosts_are_warned_about() {
    let config = from_environment(&[("HOST", "0.0.0.0")]).unwrap();
    assert!(!config.is_loopback() && config.warnings.iter().any(|warning| warning.contains("TLS")));
}

#[test]
fn ignored_names_are_as_if_unset() {
    let sources = Sources::default()
        .layer("flag", layer(&[("DATABASE_URL", "sqlite://flag.db")]))
        .layer(
            "environment",
            layer(&[("NEXARCH_DATABASE_URL", "sqlite://env.db"), ("REDIS_URL", "redis://x"), ("PORT", "7")]),
        )
        .ignoring(&["REDIS_", "DATABASE_URL"]);
    let config = load(&sources).unwrap();
    assert_eq!((config.database_url.file(), config.port), (Some(PathBuf::from("flag.db")), 7));
    assert!(config.warnings.is_empty());
}

/// Where Redis would be looked for, secrets masked.
fn redis(pairs: &[(&str, &str)]) -> String {
    from_environment(pairs).unwrap().cache.redis.unwrap().to_string()
}

#[test]
fn redis_is_named_by_a_url_or_by_parts_with_the_defaults_of_its_kind() {
    assert!(from_environment(&[]).unwrap().cache.redis.is_none());
    assert_eq!(redis(&[("REDIS_URL", "redis://localhost")]), "redis://localhost:6379/0");
    let acr = "acme.redis.cache.windows.net";
    assert_eq!(
        redis(&[("REDIS_HOST", acr), ("REDIS_PASSWORD", "k")]),
        format!("rediss://:****@{acr}:6380/0")
    );
    let amr = "acme.westeurope.redis.azure.net";
    assert_eq!(redis(&[("REDIS_HOST", amr)]), format!("rediss://{amr}:10000/0"));
    assert_eq!(redis(&[("REDIS_HOST", "cache"), ("REDIS_PORT", "6379")]), "redis://cache:6379/0");
    assert_eq!(redis(&[("REDIS_HOST", "cache")]), "rediss://cache:6380/0");
    let all = [
        ("REDIS_HOST", "cache"),
        ("REDIS_PORT", "7000"),
        ("REDIS_USERNAME", "me"),
        ("REDIS_PASSWORD", "p"),
        ("REDIS_DB", "3"),
        ("REDIS_SSL", "False"),
    ];
    assert_eq!(redis(&all), "redis://me:****@cache:7000/3");
}

#[test]
fn redis_settings_that_mean_nothing_are_warned_about_and_wrong_ones_are_problems() {
    let warnings = |pairs: &[(&str, &str)]| from_environment(pairs).unwrap().warnings.join("\n");
    assert!(warnings(&[("REDIS_PORT", "1")]).contains("REDIS_PORT has no effect: REDIS_HOST is not set"));
    assert!(
        warnings(&[("REDIS_URL", "redis://a"), ("REDIS_HOST", "b")])
            .contains("REDIS_HOST has no effect: REDIS_URL is set")
    );
    for (name, value, says) in [
        ("REDIS_URL", "http://hunter2@x", "REDIS_URL"),
        ("REDIS_URL", "cache:6380,password=hunter2,ssl=perhaps", "REDIS_URL: ssl expected True or False"),
        ("REDIS_URL", "cache:26379,serviceName=hunter2", "REDIS_URL: serviceName Sentinel"),
        (
            "REDIS_URL",
            "@Microsoft.KeyVault(SecretUri=https://v.vault.azure.net/secrets/hunter2)",
            "Key Vault",
        ),
        ("REDIS_PORT", "x", "must be a port"),
        ("REDIS_SSL", "perhaps", "True or False"),
        ("REDIS_MODE", "sentinel", "auto, standalone or cluster"),
        ("REDIS_DB", "-1", "number of a database"),
        ("REDIS_CONNECTIONS", "99", "1 to 16"),
        ("REDIS_TIMEOUT_MS", "0", "milliseconds"),
        ("REDIS_AUTH", "kerberos", "password or entra"),
        ("CACHE_ENCRYPTION_KEY", "c2hvcnQ=", "32 bytes"),
        ("CACHE_TENANT_MAX_REDIS_MB", "0", "MiB"),
        ("CACHE_NAMESPACE", "Nex:arch", "a-z"),
    ] {
        let pairs = [("REDIS_HOST", "cache"), (name, value)];
        let pairs = if name == "REDIS_URL" { &pairs[1..] } else { &pairs[..] };
        let Err(problems) = from_environment(pairs) else { panic!("{name}={value} was taken") };
        let text = problems.to_string();
        assert!(text.contains(says) && !text.contains("hunter2"), "{name}: {text}");
    }
}

#[test]
fn an_encryption_key_is_read_in_either_alphabet_and_never_shown() {
    let standard = "+/ECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let url_safe = standard.replace('+', "-").replace('/', "_");
    for text in [standard, url_safe.trim_end_matches('=')] {
        let config = from_environment(&[("CACHE_ENCRYPTION_KEY", text)]).unwrap();
        let key = config.cache.encryption_key.as_ref().unwrap();
        assert_eq!((key.expose()[0], key.expose()[31]), (0xfb, 0x1f));
        assert_eq!(format!("{key:?}"), "SecretKey(****)");
        assert!(!config.print().contains(&text[..8]), "{}", config.print());
    }
}

#[test]
fn a_connection_string_of_the_portal_is_as_good_as_a_url() {
    let string = "acme.redis.cache.windows.net:6380,password=hunter2hunter2=,ssl=True,abortConnect=False,\
        syncTimeout=50,connectTimeout=7000,colour=blue";
    let config = from_environment(&[("REDIS_URL", string)]).unwrap();
    assert!(!config.print().contains("hunter2"), "{}", config.print());
    assert!(config.print().contains("REDIS_URL=**** "), "{}", config.print());
    assert_eq!(config.warnings, ["REDIS_URL: colour is not a known option and has no effect"]);
    let redis = config.cache.redis.unwrap();
    assert_eq!(redis.to_string(), "rediss://:****@acme.redis.cache.windows.net:6380/0");
    assert_eq!(redis.effective_command_timeout(), Duration::from_millis(50), "the smaller of the two");
    assert!(format!("{redis:?}").contains("connect_timeout: 7s"), "{redis:?}");
    let both = [("REDIS_URL", string), ("REDIS_CONNECT_TIMEOUT_MS", "900"), ("REDIS_TIMEOUT_MS", "20")];
    let redis = from_environment(&both).unwrap().cache.redis.unwrap();
    assert_eq!(redis.effective_command_timeout(), Duration::from_millis(20));
    assert!(format!("{redis:?}").contains("connect_timeout: 900ms"), "what was asked for wins: {redis:?}");
}

/// A colon in a secret is no sign of a scheme.
#[test]
fn no_part_of_a_secret_is_printed() {
    for secret in ["hunter2:x", "hunter2://x", "sqlite-hunter2:x", "@hunter2", "hunter2"] {
        let config = from_environment(&[("REDIS_HOST", "cache"), ("REDIS_PASSWORD", secret)]).unwrap();
        assert!(!config.print().contains("hunter2"), "{}", config.print());
        assert!(config.print().contains("REDIS_PASSWORD=****"), "{}", config.print());
    }
}

#[test]
fn rollups_are_kept_as_long_as_spans_at_least() {
    let problems =
        from_environment(&[("RETENTION_DAYS", "30"), ("ROLLUP_RETENTION_DAYS", "1"), ("LOG_FORMAT", "xml")]);
    let Problems(problems) = problems.err().unwrap();
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].contains("ROLLUP_RETENTION_DAYS is less than RETENTION_DAYS"), "{problems:?}");
    // What nobody asked for is as long as it must be, and shown so.
    let config = from_environment(&[("RETENTION_DAYS", "400")]).unwrap();
    assert_eq!(config.rollup_retention, config.retention);
    assert!(config.print().contains("ROLLUP_RETENTION_DAYS=400"), "{}", config.print());
    for days in ["30", "31"] {
        let config = from_environment(&[("RETENTION_DAYS", "30"), ("ROLLUP_RETENTION_DAYS", days)]).unwrap();
        assert!(config.rollup_retention >= config.retention);
    }
    assert_eq!(from_environment(&[]).unwrap().rollup_retention, Duration::from_hours(90 * 24));
}
