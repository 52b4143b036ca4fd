//! Connection strings of StackExchange.Redis: every option, what it does, and what an error says.

use crate::support::{connected, eventually, rig};
use nexarch_cache::{Reason, RedisConfig, Remote, RemoteError};
use nexarch_testkit::{Certificates, PATIENCE, RedisServer};
use proptest::prelude::*;
use std::sync::Arc;
use std::time::Duration;

fn read(text: &str) -> RedisConfig {
    RedisConfig::from_url(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The defaults of ports and TLS are those of the library that people have the strings from.
#[test]
fn endpoints_are_read_in_every_form() {
    for (text, url) in [
        ("localhost", "redis://localhost:6379/0"),
        ("Cache.Example.com:7000", "redis://cache.example.com:7000/0"),
        ("10.0.0.9,ssl=true", "rediss://10.0.0.9:6380/0"),
        ("[::1]", "redis://[::1]:6379/0"),
        ("[2001:DB8::1]:7000", "redis://[2001:db8::1]:7000/0"),
        ("2001:db8::1,ssl=1", "rediss://[2001:db8::1]:6380/0"),
        ("a,a,A", "redis://a:6379/0"),
        (" , a:1 ,, ", "redis://a:1/0"),
        ("acme.redis.cache.windows.net:6380", "rediss://acme.redis.cache.windows.net:6380/0"),
        ("acme.redis.cache.windows.net", "redis://acme.redis.cache.windows.net:6379/0"),
        ("acme.redis.cache.windows.net:6380,ssl=no", "redis://acme.redis.cache.windows.net:6380/0"),
        ("acme.westeurope.redis.azure.net:10000", "rediss://acme.westeurope.redis.azure.net:10000/0"),
        // Its port is never implied.
        ("acme.westeurope.redis.azure.net", "rediss://acme.westeurope.redis.azure.net:6380/0"),
        ("localhost:10000", "redis://localhost:10000/0"),
    ] {
        assert_eq!(read(text).url(), url, "{text}");
        assert!(read(text).warnings().is_empty(), "{text}");
    }
}

#[test]
fn what_the_portal_shows_is_taken_as_it_is() {
    let key = "p+/Kd0eFq1+aBcD=0123456789+/==";
    for host in ["acme.redis.cache.windows.net:6380", "acme.westeurope.redis.azure.net:10000"] {
        let config = read(&format!("{host},password={key},ssl=True,abortConnect=False"));
        assert_eq!(config.url(), RedisConfig::from_url(&config.url()).unwrap().url());
        assert_eq!(config.to_string(), format!("rediss://:****@{host}/0"));
        assert!(config.url().contains("p%2B%2FKd0eFq1%2BaBcD%3D0123456789%2B%2F%3D%3D@"), "{}", config.url());
        assert!(config.warnings().is_empty());
    }
}

#[test]
fn names_have_no_case_the_last_holds_and_an_empty_value_is_none() {
    let config = read("h,PASSWORD = one , Password=two,uSeR=app,DefaultDatabase=3,SSL=Yes,ssl=off");
    assert_eq!(config.url(), "redis://app:two@h:6379/3");
    assert_eq!(read("h,password=one,password=").url(), "redis://h:6379/0");
    assert_eq!(read("h,serviceName=,connectTimeout=").url(), "redis://h:6379/0");
}

#[test]
fn every_known_option_is_taken_without_a_word() {
    let all = "h:1,abortConnect=false,allowAdmin=true,asyncTimeout=5000,channelPrefix=p:,\
        checkCertificateRevocation=false,configChannel=c,configCheckSeconds=60,connectRetry=3,connectTimeout=5000,\
        defaultDatabase=0,defaults=amr,highIntegrity=on,highPriorityThreads=x,keepAlive=-1,\
        maintMovingEndpointType=external-ip,maintNotifications=auto,maintPostEventRelaxed=1,maintRelaxedTimeout=1,\
        maintRelaxedWindowMax=1,name=n,password=p,preserveAsyncOrder=maybe,protocol=resp3,proxy=None,resolveDns=no,\
        responseTimeout=1,sentinelPassword=p,sentinelUser=u,setlib=0,ssl=no,sslHost=h,sslProtocols=Tls12|Tls13,\
        syncTimeout=5000,tcpKeepAlive=yes,tiebreaker=t,topologyRefreshSeconds=1800,tunnel=,user=u,version=6.0.3,\
        writeBuffer=1,$INFO=info,$NOSUCHCOMMAND=";
    let config = read(all);
    assert!(config.warnings().is_empty(), "{:?}", config.warnings());
    assert_eq!(config.effective_command_timeout(), Duration::from_millis(100));
    let again = read(&all.to_uppercase());
    assert!(again.warnings().is_empty(), "{:?}", again.warnings());
}

#[test]
fn timeouts_bound_ours_and_the_narrower_of_two_kinds_is_the_asynchronous() {
    let timeout = |text: &str| read(text).effective_command_timeout().as_millis();
    assert_eq!((timeout("h,syncTimeout=7"), timeout("h,syncTimeout=5000")), (7, 100));
    assert_eq!((timeout("h,syncTimeout=7,asyncTimeout=30"), timeout("h,asyncTimeout=9")), (30, 9));
    assert!(format!("{:?}", read("h,connectTimeout=1234")).contains("connect_timeout: 1.234s"));
}

/// "None" leaves the choice to who connects, as a number of .NET's bits does that holds both.
#[test]
fn versions_of_tls_are_named_or_left_open() {
    for text in ["None", "0", "3072", "12288", "Tls12|Tls13", "Tls | tls13", "Tls11|Tls12", "15360"] {
        let config = read(&format!("h,ssl=1,sslProtocols={text}"));
        assert!(config.warnings().is_empty(), "{text}");
    }
}

/// What has no effect is said, by its name alone; what may be the end of a password that was cut at a comma is not.
#[test]
fn what_has_no_effect_is_told_without_values() {
    for (text, warning) in [
        ("h,colour=hunter2", "colour is not a known option and has no effect"),
        (
            "h,password=a,hunter2hunter2hunter2=b",
            "an unknown option has no effect; can a value hold a comma?",
        ),
        ("h,password=a,zZ+/==", "an unknown option has no effect; can a value hold a comma?"),
        ("h,proxy=Twemproxy", "proxy is not supported and has no effect"),
        ("h,tunnel=http:hunter2", "tunnel is not supported and has no effect"),
        (
            "h,checkCertificateRevocation=True",
            "checkCertificateRevocation is not supported and has no effect",
        ),
        ("a,b,c", "only the first of 3 endpoints is used; of a cluster it tells the others"),
        ("h,$CLUSTER=hunter2", "CLUSTER is not used under another name"),
    ] {
        assert_eq!(read(text).warnings(), [warning], "{text}");
    }
}

#[test]
fn errors_name_the_option_and_no_value() {
    for (text, says) in [
        ("", "Redis host: no endpoint"),
        ("password=hunter2,ssl=True", "Redis host: no endpoint"),
        ("=hunter2", "Redis host: expected a name"),
        ("h,hunter2/x", "Redis host: expected a name"),
        ("h,password=a,hunter2!", "Redis host: expected a name"),
        ("!/var/run/hunter2.sock", "Redis host: Unix sockets"),
        ("[::1", "Redis host: not an IPv6"),
        ("[::hunter2]:1", "Redis host: not an IPv6"),
        ("[::1]hunter2", "Redis host: not an IPv6"),
        ("1:2:hunter2", "Redis host: not an IPv6"),
        ("h:hunter2", "Redis port: expected 1 to 65535"),
        ("h:0", "Redis port: "),
        ("h:+1", "Redis port: "),
        ("h:65536", "Redis port: "),
        ("h,ssl=hunter2", "Redis ssl: expected True or False"),
        ("h,ABORTCONNECT=hunter2", "Redis abortConnect: expected True or False"),
        ("h,connectTimeout=0", "Redis connectTimeout: expected a whole number from 1"),
        ("h,syncTimeout=hunter2", "Redis syncTimeout: expected a whole number from 1"),
        ("h,asyncTimeout=+7", "Redis asyncTimeout: "),
        ("h,keepAlive=hunter2", "Redis keepAlive: expected a whole number"),
        ("h,connectRetry=99999999999", "Redis connectRetry: "),
        ("h,defaultDatabase=-1", "Redis defaultDatabase: "),
        ("h,protocol=resp4", "Redis protocol: expected one of resp2, resp3, 2, 3"),
        ("h,version=hunter2", "Redis version: expected a version"),
        ("h,proxy=hunter2", "Redis proxy: expected one of none, twemproxy, envoyproxy"),
        ("h,defaults=hunter2", "Redis defaults: expected one of azure"),
        ("h,sslProtocols=hunter2", "Redis sslProtocols: expected Tls12, Tls13"),
        ("h,sslProtocols=Tls|Tls11", "Redis sslProtocols: TLS 1.2 and 1.3 are spoken"),
        ("h,ssl=1,sslHost=hunter2 x", "Redis certificate name: "),
        ("h:26379,serviceName=hunter2", "Redis serviceName: Sentinel is not supported"),
        ("h,user=hunter2", "Redis username: a user needs a password"),
        ("h,$GETRANGE=hunter2", "Redis command map: GETRANGE is needed"),
        ("h,$getrange=", "Redis command map: GETRANGE is needed"),
        ("h,password=hunter2,$AUTH=", "Redis command map: AUTH is needed"),
    ] {
        let error = RedisConfig::from_url(text).expect_err(text);
        assert!(error.to_string().starts_with(says), "{text}: {error}");
        assert!(!format!("{error:?}{error}").contains("hunter2"), "{text}: {error}");
    }
}

#[tokio::test]
async fn what_is_given_for_the_connection_is_used_there() {
    let server = RedisServer::builder().password("key").start();
    let string =
        format!("127.0.0.1:{},password=key,name=my app,channelPrefix=team:,protocol=2", server.port());
    let rig = connected(&read(&string).namespace("test")).await;
    let named = |protocol: &str| {
        let clients = server.cli(&["CLIENT", "LIST"]);
        clients.lines().filter(|line| line.contains("name=myapp") && line.contains(protocol)).count()
    };
    // Messages go over RESP3 where they can: there they need no connection that does nothing else.
    eventually("two connections for values and one for messages", || {
        (named("resp=2"), named("resp=3")) == (2, 1)
    })
    .await;
    let channels = server.cli(&["PUBSUB", "CHANNELS"]);
    let mut channels: Vec<_> = channels.lines().collect();
    channels.sort_unstable();
    assert_eq!(channels, ["AzureRedisEvents", "team:test:versions"], "Azure's has no prefix");
    rig.end().await;
}

#[tokio::test]
async fn a_certificate_has_to_show_the_name_that_was_given() {
    let certificates = Arc::new(Certificates::new(&["cache.example.com"]));
    let server = RedisServer::builder().tls(&certificates).arg("--tls-protocols", "TLSv1.3").start();
    let config = |options: &str| {
        let string = format!("127.0.0.1:{},ssl=True{options}", server.port());
        read(&string).ca_pem(certificates.ca_pem()).namespace("test")
    };
    connected(&config(",sslHost=Cache.Example.Com,sslProtocols=Tls13")).await.end().await;
    for wrong in ["", ",sslHost=other.example.com", ",sslHost=cache.example.com,sslProtocols=Tls12"] {
        let rig = rig(&config(wrong));
        rig.until("a refusal", |status| status.reason == Some(Reason::Tls)).await;
        rig.end().await;
    }
}

/// A command that is off costs its feature and nothing else, and is not sent.
#[tokio::test]
async fn commands_that_are_off_are_not_sent() {
    let server = RedisServer::start();
    let base = format!("127.0.0.1:{},name=n", server.port());
    let all = format!("{base},$CLIENT=,$CLUSTER=,$INFO=,$SCAN=,$UNLINK=,$PUBLISH=,$SUBSCRIBE=,$HELLO=");
    // A busy machine is not what is looked at.
    let rig = rig(&read(&all).namespace("test").command_timeout(PATIENCE));
    rig.until("values", |status| status.values).await;
    rig.remote.set("test:a:b:c", "value".into(), Duration::from_mins(1)).await.unwrap();
    assert_eq!(rig.remote.get("test:a:b:c", 9).await, Ok(Some("value".into())));
    assert_eq!(rig.status().reason, Some(Reason::Messages));
    assert_eq!(rig.remote.remove(None, None).await, Err(RemoteError::Refused(Reason::Protocol)).into());
    assert_eq!(rig.remote.server_info().await, Err(RemoteError::Refused(Reason::Protocol)));
    let stats = server.cli(&["INFO", "commandstats"]);
    for command in ["client|setname", "cluster|slots", "scan", "publish", "subscribe", "hello"] {
        assert!(!stats.contains(&format!("cmdstat_{command}:")), "{command} was sent: {stats}");
    }
    let with = connected(&read(&base).namespace("test").command_timeout(PATIENCE)).await;
    let stats = server.cli(&["INFO", "commandstats"]);
    for command in ["client|setname", "cluster|slots", "publish", "subscribe", "hello"] {
        assert!(stats.contains(&format!("cmdstat_{command}:")), "{command} was not sent: {stats}");
    }
    with.end().await;
    rig.end().await;
}

/// A value that holds no comma and has no space at its ends.
fn value() -> impl Strategy<Value = String> {
    "[^,]{1,40}".prop_map(|text| text.trim().to_owned()).prop_filter("a text", |text| !text.is_empty())
}

proptest! {
    #[test]
    fn what_is_written_is_read(user in value(), password in value(), port in 1u16.., db in 0u32..16, tls: bool) {
        for (host, written) in [("cache.example.com", "cache.example.com"), ("2001:db8::1", "[2001:db8::1]")] {
            let string =
                format!("{written}:{port}, password = {password},user={user},ssl={tls},defaultDatabase={db}");
            let config = RedisConfig::new(host).port(port).db(db).tls(tls).username(&user).password(&password);
            let read = RedisConfig::from_url(&string).unwrap();
            prop_assert_eq!(read.url(), config.url());
            prop_assert_eq!(RedisConfig::from_url(&read.url()).unwrap().url(), config.url());
        }
    }

    /// Wherever it stands, a secret is in no error and in no text for people.
    #[test]
    fn a_secret_is_in_no_text(
        items in prop::collection::vec("[a-zA-Z$:.=|\\[\\]!0-9]{0,12}", 0..6),
        name in "(password|PASSWORD|sentinelPassword|ssl|protocol|tunnel|version|connectTimeout|sslProtocols|\\$GETRANGE)",
        at in 0usize..6,
    ) {
        let mut items = items;
        items.insert(at.min(items.len()), format!("{name}=S3cr3t/+w0rd=="));
        match RedisConfig::from_url(&items.join(",")) {
            Ok(config) => {
                let shown = format!("{config} {config:?} {:?}", config.warnings());
                prop_assert!(!shown.contains("S3cr3t"), "{}", shown);
            }
            Err(error) => prop_assert!(!format!("{error} {error:?}").contains("S3cr3t"), "{}", error),
        }
    }

    #[test]
    fn a_password_that_was_cut_at_a_comma_is_in_no_text(rest in "[a-zA-Z0-9+/=!#]{41,60}") {
        let string = format!("h:6380,password=first,{rest},ssl=True");
        match RedisConfig::from_url(&string) {
            Ok(config) => {
                let shown = format!("{config} {:?}", config.warnings());
                prop_assert!(!shown.contains(&rest[..41]), "{}", shown);
            }
            Err(error) => prop_assert!(!error.to_string().contains(&rest[..8]), "{}", error),
        }
    }
}
