//! What to change, in the words of this program's variables.

use nexarch_cache::{RedisConfig, RedisMistake};

#[expect(clippy::too_many_lines, reason = "one table; taken apart it would not be read at a glance")]
pub(super) fn of(mistake: RedisMistake, redis: &RedisConfig) -> String {
    let azure = redis.service_name() != "Redis";
    let text = match mistake {
        RedisMistake::Configuration => "Change REDIS_URL or the REDIS_… variable that is named.",
        RedisMistake::UnknownName if azure => {
            "Check the host name in the portal. With a private endpoint it resolves only inside of the virtual network \
             that its private DNS zone is linked to."
        }
        RedisMistake::UnknownName => "Check the host name in REDIS_URL or REDIS_HOST.",
        RedisMistake::NobodyListens if azure => {
            "Check the port: Azure Cache for Redis takes TLS on 6380 and has 6379 closed by default; Azure Managed Redis \
             takes 10000."
        }
        RedisMistake::NobodyListens => {
            "Start Redis, or check the port. A refusal is no firewall: the machine is reached. In a container, localhost is \
             the container itself."
        }
        RedisMistake::Dropped if azure => {
            "A firewall drops it, or there is no route: allow this machine's address in the cache's networking settings, or \
             come through a private endpoint of a network that this machine is in."
        }
        RedisMistake::Dropped => {
            "A firewall drops it, or there is no route: allow this machine to reach host and port."
        }
        RedisMistake::PlainPort => {
            "Use the server's TLS port (6380 on Azure Cache for Redis), or for a server without TLS redis:// or REDIS_SSL=False."
        }
        RedisMistake::TlsPort => {
            "Switch TLS on: rediss:// in the URL, ssl=True in a connection string, or REDIS_SSL=True."
        }
        RedisMistake::NotRedis => "Something else answers on this port. Check host and port.",
        RedisMistake::WrongName => {
            "Connect by a name that the certificate shows, not by an address or an alias; in a connection string, sslHost \
             can name it. The check is never switched off."
        }
        RedisMistake::Authority => {
            "Name the authority's PEM file in REDIS_CA_FILE for a private one, or install the system's (ca-certificates)."
        }
        RedisMistake::Clock => {
            "Set this machine's clock by NTP; if the clock is right, renew the server's certificate."
        }
        RedisMistake::Tls => {
            "Check that the port speaks TLS 1.2 or 1.3, and that nothing in between breaks it open."
        }
        RedisMistake::NoPassword => {
            "Give the password or access key: REDIS_PASSWORD, or as part of REDIS_URL. On Azure it stands under Access keys."
        }
        RedisMistake::WrongPassword if azure => {
            "Copy the primary key anew: keys may have been regenerated, or switched off in favour of Microsoft Entra ID. In a \
             rediss:// URL its + / = are percent-encoded (%2B %2F %3D); a connection string and REDIS_PASSWORD take it as it is."
        }
        RedisMistake::WrongPassword => {
            "Check user and password. In a URL, special characters are percent-encoded; REDIS_PASSWORD takes it as it is. \
             Without a user, Redis takes the default one."
        }
        RedisMistake::EncodedPassword => {
            "The password holds %3D, %2B or %2F: it was percent-encoded where it is taken as it is. Only a redis:// or \
             rediss:// URL wants it encoded, and once."
        }
        RedisMistake::NoToken => {
            "Give this app an identity (managed identity in the portal, or AZURE_TENANT_ID and AZURE_CLIENT_ID with \
             AZURE_CLIENT_SECRET or AZURE_FEDERATED_TOKEN_FILE). Tokens are good by this machine's clock: is it right?"
        }
        RedisMistake::WrongToken => {
            "Give the identity access to the cache (Authentication, Microsoft Entra ID, in the portal). Its user is the object \
             id; REDIS_USERNAME names another."
        }
        RedisMistake::Database => {
            "Use database 0 (REDIS_DB=0, no /N in the URL): clusters and Azure Managed Redis have no other."
        }
        RedisMistake::TooManyClients => {
            "Each server holds REDIS_CONNECTIONS + 1 connections to each primary: lower it, close what is left over, or take a \
             larger tier."
        }
        RedisMistake::NotReady => {
            "The server is starting, failing over or loading data: try again in a minute."
        }
        RedisMistake::ClusterAsOne => "Remove REDIS_MODE, or set it to auto or cluster.",
        RedisMistake::NoCluster => {
            "Remove REDIS_MODE, or set it to auto. The Enterprise cluster policy of Azure looks like one server, too."
        }
        RedisMistake::NodeAway if azure => {
            "Open the ports of the shards as well: 8500 to 8599 on Azure Managed Redis, 13000 to 13999 and 15000 to 15999 on a \
             clustered Azure Cache for Redis."
        }
        RedisMistake::NodeAway => {
            "Every primary has to be reached under the address that CLUSTER SLOTS names: open its port, or let the nodes \
             announce another address (cluster-announce-ip)."
        }
        RedisMistake::NeededCommand => {
            "Give the user the commands get, set, ping, publish, subscribe, unlink, scan, cluster|slots and info on keys and \
             channels of CACHE_NAMESPACE, such as +@read +@write +@pubsub +@connection ~nexarch:* &nexarch:*."
        }
        RedisMistake::OptionalCommand => {
            "Give the user these commands if tenants are to be removed from Redis at once."
        }
        RedisMistake::Full => {
            "Choose the eviction policy allkeys-lru or volatile-lru (every key has a TTL), or give the server more memory."
        }
        RedisMistake::ReadOnly => "Connect to the primary: this server is a replica.",
        RedisMistake::NoMessages => {
            "Values work; other servers learn of changes within a second instead of milliseconds. For messages, \
             the rights to publish and subscribe are needed."
        }
        RedisMistake::NoEviction => {
            "Choose the eviction policy allkeys-lru or volatile-lru (every key has a TTL): with noeviction, writes fail once \
             memory is full."
        }
        RedisMistake::Slow => {
            "Put server and Redis in one region and network. Calls are given up after REDIS_TIMEOUT_MS; what they would have \
             brought is computed."
        }
        _ => "See docs/azure.md, troubleshooting.",
    };
    text.to_owned()
}
