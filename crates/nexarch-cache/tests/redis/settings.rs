//! Parts and URLs.

use nexarch_cache::RedisConfig;
use proptest::prelude::*;

#[test]
fn ports_and_tls_follow_from_the_host() {
    let line = |config: RedisConfig| config.to_string();
    let new = RedisConfig::new;
    for (config, expected) in [
        (new("localhost"), "redis://localhost:6379/0"),
        (new("127.0.0.1"), "redis://127.0.0.1:6379/0"),
        (new("::1"), "redis://[::1]:6379/0"),
        (new("[::1]").port(6380), "rediss://[::1]:6380/0"),
        (new("cache.example.com"), "rediss://cache.example.com:6380/0"),
        (new("Cache.Example.com").port(6379), "redis://cache.example.com:6379/0"),
        (new("cache.example.com").port(7000), "rediss://cache.example.com:7000/0"),
        (new("cache.example.com").tls(false), "redis://cache.example.com:6379/0"),
        (new("localhost").port(10_000), "rediss://localhost:10000/0"),
        (new("localhost").tls(true), "rediss://localhost:6380/0"),
        (new("acme.redis.cache.windows.net"), "rediss://acme.redis.cache.windows.net:6380/0"),
        (new("acme.westeurope.redis.azure.net"), "rediss://acme.westeurope.redis.azure.net:10000/0"),
        (new("acme.redis.cache.chinacloudapi.cn"), "rediss://acme.redis.cache.chinacloudapi.cn:6380/0"),
        (new("a.redis.azure.net").tls(false), "redis://a.redis.azure.net:10000/0"),
    ] {
        assert_eq!(line(config), expected);
    }
}

#[test]
fn the_host_gives_the_service_its_name() {
    for (host, name) in [
        ("acme.redis.cache.windows.net", "Azure Cache for Redis"),
        ("acme.redis.cache.usgovcloudapi.net", "Azure Cache for Redis"),
        ("acme.westeurope.redis.azure.net", "Azure Managed Redis"),
        ("acme.westeurope.redis.chinacloudapi.cn", "Azure Managed Redis"),
        ("acme.westeurope.redisenterprise.cache.azure.net", "Azure Managed Redis"),
        ("redis.azure.net.example.com", "Redis"),
        ("localhost", "Redis"),
    ] {
        assert_eq!(RedisConfig::new(host).service_name(), name, "{host}");
    }
}

/// Each error names its part and repeats nothing of what was given.
#[test]
fn errors_say_which_part_and_no_secret() {
    for (url, part) in [
        ("", "Redis host: no endpoint"),
        ("http://:hunter2@host", "Redis URL: "),
        ("unix:///hunter2", "Redis URL: Unix sockets"),
        ("redis+sentinel://:hunter2@host", "Redis URL: Sentinel"),
        ("redis://:hunter2@", "Redis host: "),
        ("redis:///hunter2", "Redis database: "),
        ("redis://:hunter2@host:port", "Redis port: "),
        ("redis://:hunter2@host:70000", "Redis port: "),
        ("redis://:hunter2@host:0", "Redis port: "),
        ("redis://:hunter2/more@host", "Redis host: "),
        ("redis://:hunter2@[::zz]", "Redis host: "),
        ("redis://:hunter2@host/one", "Redis database: "),
        ("redis://:hunter2@host/-1", "Redis database: "),
        ("redis://:hunter2@host/0?timeout=1", "Redis URL: parameters"),
        ("redis://:hunter2#x@host", "Redis "),
        ("redis://:%ff@host", "Redis password: "),
        ("redis://user@host", "Redis username: "),
    ] {
        let error = RedisConfig::from_url(url).expect_err(url).to_string();
        assert!(error.starts_with(part), "{url}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn nothing_for_people_shows_the_password() {
    let config = RedisConfig::new("h").username("app").password("hunter2").ca_pem("hunter2");
    for text in [config.to_string(), format!("{config:?}"), format!("{config:#?}")] {
        assert!(text.contains("app:****@h") && !text.contains("hunter2"), "{text}");
    }
    assert!(config.url().contains("hunter2"));
}

proptest! {
    #[test]
    fn a_url_gives_back_what_made_it(user in ".{0,9}", password in ".{1,40}", port in 1u16.., db in 0u32..16, tls: bool) {
        for host in ["cache.example.com", "10.1.2.3", "::1", "fe80::1"] {
            let mut config = RedisConfig::new(host).port(port).db(db).tls(tls).password(&password);
            if !user.is_empty() {
                config = config.username(&user);
            }
            let read = RedisConfig::from_url(&config.url()).unwrap();
            prop_assert_eq!(read.url(), config.url());
            prop_assert_eq!(format!("{read:?}"), format!("{config:?}"));
            prop_assert!(config.url().is_ascii());
        }
    }

    #[test]
    fn no_text_panics_or_is_repeated(text in ".{0,60}", scheme in "(redis://|rediss://|:|,|)") {
        if let Err(error) = RedisConfig::from_url(&format!("{scheme}{text}")) {
            prop_assert!(text.len() < 12 || !error.to_string().contains(&text));
        }
    }
}
