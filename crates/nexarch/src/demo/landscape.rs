//! Who runs in the shop: services with their processes, and what they lean on.

use std::sync::Arc;

use nexarch_core::{
    Text,
    span::{Resource, Scope},
};

use super::{
    attributes::{fixed, text},
    chance::Chance,
};

/// The twelve services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Service {
    WebFrontend,
    ApiGateway,
    Catalog,
    Search,
    Cart,
    Checkout,
    Orders,
    Payments,
    Inventory,
    Shipping,
    Users,
    Recommendations,
}

/// Which names of the semantic conventions a service speaks; real landscapes mix both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// The stable names: `http.request.method`, `db.system.name`.
    Stable,
    /// Those before: `http.method`, `db.system`. Still what many instrumentations send by default.
    Old,
}

/// What is fixed about a service.
pub(super) struct Profile {
    /// `service.name`.
    pub(super) name: &'static str,
    /// Its address inside the cluster.
    pub(super) host: &'static str,
    /// `service.version`.
    version: &'static str,
    /// `telemetry.sdk.language`.
    language: &'static str,
    /// Name of the instrumentation.
    scope: &'static str,
    /// How many processes run it.
    instances: u64,
    /// How it names attributes.
    pub(super) dialect: Dialect,
}

const JAVA: (&str, &str) = ("java", "io.opentelemetry.spring-webmvc-6.0");
const NODE: (&str, &str) = ("nodejs", "@opentelemetry/instrumentation-http");
const PYTHON: (&str, &str) = ("python", "opentelemetry.instrumentation.fastapi");
const GO: (&str, &str) = ("go", "go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp");

const fn profile(
    name: &'static str,
    host: &'static str,
    version: &'static str,
    (language, scope): (&'static str, &'static str),
    instances: u64,
    dialect: Dialect,
) -> Profile {
    Profile { name, host, version, language, scope, instances, dialect }
}

use Dialect::{Old, Stable};

/// In the order of [`Service`].
const PROFILES: [Profile; 12] = [
    profile("web-frontend", "web-frontend.shop.svc.cluster.local", "3.14.0", NODE, 2, Stable),
    profile("api-gateway", "api-gateway.shop.svc.cluster.local", "2.8.1", GO, 2, Stable),
    profile("catalog", "catalog.shop.svc.cluster.local", "1.22.4", PYTHON, 2, Old),
    profile("search", "search.shop.svc.cluster.local", "0.19.0", JAVA, 1, Stable),
    profile("cart", "cart.shop.svc.cluster.local", "1.7.3", NODE, 1, Stable),
    profile("checkout", "checkout.shop.svc.cluster.local", "4.1.0", GO, 1, Stable),
    profile("orders", "orders.shop.svc.cluster.local", "2.3.0", JAVA, 1, Stable),
    profile("payments", "payments.shop.svc.cluster.local", "5.0.2", JAVA, 2, Stable),
    profile("inventory", "inventory.shop.svc.cluster.local", "1.11.0", GO, 1, Stable),
    profile("shipping", "shipping.shop.svc.cluster.local", "0.9.6", PYTHON, 1, Stable),
    profile("users", "users.shop.svc.cluster.local", "1.4.9", PYTHON, 1, Old),
    profile("recommendations", "recommendations.shop.svc.cluster.local", "0.6.1", PYTHON, 1, Stable),
];

impl Service {
    /// Position in [`PROFILES`].
    fn index(self) -> usize {
        usize::from(self as u8)
    }

    /// What is fixed about it.
    pub(super) fn profile(self) -> &'static Profile {
        &PROFILES[self.index()]
    }
}

/// All processes of the shop, as their telemetry names them.
#[derive(Debug)]
pub(super) struct Landscape {
    /// By service, one for each instance.
    processes: Vec<Vec<Arc<Resource>>>,
    /// By service.
    scopes: Vec<Arc<Scope>>,
}

impl Landscape {
    /// The landscape of a seed; other seeds give other instance ids.
    pub(super) fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed, u64::MAX);
        let processes = PROFILES
            .iter()
            .map(|profile| (0..profile.instances).map(|_| Arc::new(resource(profile, &mut chance))).collect())
            .collect();
        let scope = |profile: &Profile| Scope {
            name: Text::from_static(profile.scope),
            version: Text::from_static("2.20.1"),
            attributes: Vec::new(),
        };
        Self { processes, scopes: PROFILES.iter().map(|profile| Arc::new(scope(profile))).collect() }
    }

    /// One of the processes of a service, evenly.
    pub(super) fn process(&self, service: Service, chance: &mut Chance) -> Arc<Resource> {
        let processes = &self.processes[service.index()];
        let chosen = usize::try_from(chance.below(processes.len() as u64)).unwrap_or(0);
        processes[chosen].clone()
    }

    /// The instrumentation of a service.
    pub(super) fn scope(&self, service: Service) -> Arc<Scope> {
        self.scopes[service.index()].clone()
    }
}

/// What a process says about itself.
fn resource(profile: &Profile, chance: &mut Chance) -> Resource {
    let (high, low) = (chance.bits(), chance.bits());
    let instance = format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xfff,
        0x8000 | (low >> 50),
        low & 0xffff_ffff_ffff
    );
    let pod = format!("{}-{:010x}-{:05x}", profile.name, high >> 24, low & 0xf_ffff);
    let environment = match profile.dialect {
        Stable => "deployment.environment.name",
        Old => "deployment.environment",
    };
    Resource {
        attributes: vec![
            fixed("service.name", profile.name),
            fixed("service.namespace", "shop"),
            fixed("service.version", profile.version),
            text("service.instance.id", instance),
            fixed(environment, "production"),
            fixed("k8s.namespace.name", "shop"),
            text("k8s.pod.name", pod),
            fixed("telemetry.sdk.name", "opentelemetry"),
            fixed("telemetry.sdk.language", profile.language),
        ],
    }
}
