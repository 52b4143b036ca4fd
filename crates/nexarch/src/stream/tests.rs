use nexarch_store::{Options, Role, Store};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::auth::Authenticator;

const NOW_US: u64 = 1_800_000_000_000_000;

struct House {
    hub: Arc<Hub>,
    auth: Authenticator,
    store: Arc<dyn Store>,
    _folder: tempfile::TempDir,
}

impl House {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("a.db").display());
        let store = nexarch_store::open(&url, Options::new(Role::Owner, || NOW_US)).await.unwrap();
        let (auth, hub) = (Authenticator::new(Arc::clone(&store)), Arc::new(Hub::new().unwrap()));
        Self { hub, auth, store, _folder: folder }
    }

    /// A new tenant of this name and who calls for it.
    async fn caller(&self, tenant: &str) -> Arc<Caller> {
        let id: TenantId = tenant.parse().unwrap();
        self.store.create_tenant(&id, "").await.unwrap();
        let scopes = [nexarch_store::Scope::Read];
        let (_, secret) = crate::auth::create_key(&*self.store, &id, "", &scopes, None).await.unwrap();
        self.auth.observe(self.store.versions(&[]).await.unwrap().auth_version);
        self.auth.authenticate(secret.expose(), NOW_US).await.unwrap()
    }
}

fn versions(data: u64) -> Versions {
    Versions { clock: data, data, ..Versions::default() }
}

async fn text(subscription: &mut Subscription) -> String {
    let open = CancellationToken::new();
    String::from_utf8(subscription.next(&open).await.unwrap().to_vec()).unwrap()
}

#[tokio::test]
async fn each_tenant_hears_of_itself_alone() {
    let house = House::new().await;
    let (a, b) = (house.caller("a").await, house.caller("b").await);
    let (mut of_a, mut of_b) =
        (house.hub.subscribe(&a, 0, None).unwrap(), house.hub.subscribe(&b, 0, None).unwrap());
    for subscription in [&mut of_a, &mut of_b] {
        assert!(text(subscription).await.starts_with("retry: "));
    }
    house.hub.committed(&a.scope, &versions(7), Cause::Ingest);
    house.hub.committed(&b.scope, &versions(9), Cause::Settle);
    assert!(text(&mut of_a).await.contains(r#"{"version":7,"cause":"ingest"}"#));
    assert!(text(&mut of_b).await.contains(r#"{"version":9,"cause":"settle"}"#));
    house.store.close().await;
}

#[tokio::test]
async fn the_number_of_streams_is_bounded_for_each_and_for_all() {
    let house = House::new().await;
    let mut open = Vec::new();
    for tenant in ["a", "b"] {
        let caller = house.caller(tenant).await;
        for _ in 0..MAX_OF_TENANT {
            open.push(house.hub.subscribe(&caller, 0, None).unwrap());
        }
        let refused = house.hub.subscribe(&caller, 0, None).unwrap_err();
        assert_eq!(refused, if tenant == "a" { Crowded::Tenant } else { Crowded::Server });
    }
    let c = house.caller("c").await;
    assert_eq!(house.hub.subscribe(&c, 0, None).unwrap_err(), Crowded::Server);
    open.pop();
    house.hub.subscribe(&c, 0, None).unwrap();
    house.store.close().await;
}

#[tokio::test]
async fn rooms_that_nobody_comes_back_to_are_given_up() {
    let house = House::new().await;
    let caller = house.caller("a").await;
    let first = text(&mut house.hub.subscribe(&caller, 0, None).unwrap()).await;
    let id = first.lines().find_map(|line| line.strip_prefix("id: ")).unwrap();
    house.hub.committed(&caller.scope, &versions(7), Cause::Ingest);
    let now = Instant::now();
    house.hub.sweep(now + KEPT / 2);
    let mut back = house.hub.subscribe(&caller, 7, Some(id)).unwrap();
    text(&mut back).await;
    assert!(text(&mut back).await.contains(r#""version":7"#), "what came meanwhile is kept");
    drop(back);
    house.hub.sweep(Instant::now() + KEPT);
    assert_eq!(house.hub.any.load(Ordering::Acquire), 0);
    let again = text(&mut house.hub.subscribe(&caller, 7, Some(id)).unwrap()).await;
    assert!(again.contains("event: reset\ndata: {\"reason\":\"unknown\""), "{again}");
    // Many at once leave: only the latest are kept.
    for nth in 0..MAX_EMPTY + 5 {
        let mut other = (*caller).clone();
        other.tenant = format!("t{nth}").parse().unwrap();
        other.scope = Scope::new(other.tenant.as_str()).unwrap();
        drop(house.hub.subscribe(&Arc::new(other), 0, None).unwrap());
    }
    house.hub.sweep(Instant::now());
    assert_eq!(house.hub.any.load(Ordering::Acquire), MAX_EMPTY);
    house.store.close().await;
}

#[tokio::test]
async fn a_tenant_made_anew_has_a_room_of_its_own() {
    let house = House::new().await;
    let caller = house.caller("a").await;
    let mut old = house.hub.subscribe(&caller, 0, None).unwrap();
    let first = text(&mut old).await;
    let id = first.lines().find_map(|line| line.strip_prefix("id: ")).unwrap();
    house.hub.committed(&caller.scope, &versions(7), Cause::Ingest);
    let mut anew = (*caller).clone();
    anew.tenant_created_us += 1;
    let mut new = house.hub.subscribe(&Arc::new(anew), 8, Some(id)).unwrap();
    let begin = text(&mut new).await;
    assert!(begin.contains("event: reset"), "{begin}");
    // Who was there is sent away, without what came since.
    house.hub.committed(&caller.scope, &versions(9), Cause::Ingest);
    assert_eq!(text(&mut old).await, ": the tenant is gone\n\n");
    assert!(old.next(&CancellationToken::new()).await.is_none());
    assert!(text(&mut new).await.contains(r#""version":9"#));
    // A request of the old one that comes late hears nothing, and costs the new one nothing.
    let mut late = house.hub.subscribe(&caller, 9, None).unwrap();
    house.hub.committed(&caller.scope, &versions(10), Cause::Ingest);
    while let Some(told) = late.next(&CancellationToken::new()).await {
        assert!(!told.windows(7).any(|word| word == b"version"), "{told:?}");
    }
    house.hub.sweep(Instant::now() + room::PAUSE);
    assert!(text(&mut new).await.contains(r#""version":10"#));
    house.store.close().await;
}

#[tokio::test]
async fn who_listens_to_a_tenant_that_is_gone_is_sent_away_at_once() {
    let house = House::new().await;
    let caller = house.caller("a").await;
    let mut open = house.hub.subscribe(&caller, 0, None).unwrap();
    text(&mut open).await;
    house.hub.forget(&caller.tenant);
    house.hub.committed(&caller.scope, &versions(7), Cause::Ingest);
    assert_eq!(text(&mut open).await, ": the tenant is gone\n\n");
    drop(open);
    assert_eq!(house.hub.rooms().open, 0);
    house.store.close().await;
}

#[tokio::test]
async fn a_stream_ends_with_its_key_and_with_the_server_and_says_why() {
    let house = House::new().await;
    let (a, b) = (house.caller("a").await, house.caller("b").await);
    let (mut of_a, mut of_b) =
        (house.hub.subscribe(&a, 0, None).unwrap(), house.hub.subscribe(&b, 0, None).unwrap());
    text(&mut of_a).await;
    text(&mut of_b).await;
    house.hub.end(&a, "the API key was revoked");
    assert_eq!(text(&mut of_a).await, ": the API key was revoked\n\n");
    let drain = CancellationToken::new();
    assert!(of_a.next(&drain).await.is_none());
    drain.cancel();
    assert_eq!(of_b.next(&drain).await.unwrap(), ": the server is stopping\n\n");
    assert!(of_b.next(&drain).await.is_none());
    house.store.close().await;
}

#[tokio::test]
async fn silence_is_filled() {
    let house = House::new().await;
    let caller = house.caller("a").await;
    let mut subscription = house.hub.subscribe(&caller, 0, None).unwrap();
    text(&mut subscription).await;
    tokio::time::pause();
    for _ in 0..3 {
        assert_eq!(text(&mut subscription).await, ":\n\n");
    }
    tokio::time::resume();
    house.store.close().await;
}
