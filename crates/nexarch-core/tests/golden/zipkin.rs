//! Zipkin v2 JSON.

use nexarch_core::{otlp::Rules, zipkin};

use crate::support::{Picture, check, fixture, whole};

fn picture(name: &str) -> Picture {
    let body = fixture(&format!("zipkin/{name}.json"));
    Picture::of(&whole(zipkin::decode(&body.into(), &Rules::default()).unwrap()))
}

#[test]
fn smartthings() {
    let picture = picture("smartthings-mobile-web-install");
    check(
        "zipkin-smartthings",
        "One install by a phone, which entered by coresrv: the only root, hence the only call by user. \
            Client and server share their ids (294 of 326 servers), so each such pair is one call. The 84 untimed spans are \
            parts of halves that are there as well, and count as spans only. The 28 pairs are what an independent script \
            finds by rule R2 in the raw JSON, with the same calls but for those parts (two more from stlogin to \
            platformapi). archiver.st.internal is named by a client and sends nothing.",
        &picture,
    );
    assert_eq!(picture.counts(), (1_041, 1_041, 1, 16));
    assert_eq!(picture.service_edges().len(), 28);
}

#[test]
fn yelp() {
    let picture = picture("yelp");
    check(
        "zipkin-yelp",
        "The proxy spans report under wrong names: the client half of 668ed78a says \"unknown\" and its server half \
            \"yelp_main/api_proxy\", and what hangs below reports as yelp-main. So routing -> unknown and routing -> yelp-main are \
            clients whose parent is a server of another service (inferred), and 241cea1a without kind under api_proxy is the \
            inside of one request. Strict pairing finds 3 of the 6 pairs: -> spectre, -> api_proxy, -> mobile_api. \
            memcache, mysql and blt are only named by clients; without db.system a name is all that is known.",
        &picture,
    );
    assert_eq!(picture.counts(), (16, 16, 1, 6));
    assert_eq!(picture.service_edges().len(), 6);
}

#[test]
fn messaging_kafka() {
    let picture = picture("messaging-kafka");
    check(
        "zipkin-messaging-kafka",
        "9 PRODUCER spans of servicea, each one call to its broker; 7 CONSUMER spans, 4 of servicea and 3 of serviceb, \
            each one call from it. Producers and consumers meet in the broker: no edge between the services, and none from a \
            service to itself. 6 of the 7 consumers hang below a producer, and each of them is one message from servicea; the \
            first poll is the root. Three were in the queue for 394.9, 172.3 and 0.3 ms before servicea took them; serviceb took \
            two after 0.3 ms, and the third before its sender's clock says that it was sent.",
        &picture,
    );
    assert_eq!(picture.counts(), (28, 28, 1, 2));
}

#[test]
fn messaging() {
    let picture = picture("messaging");
    check(
        "zipkin-messaging",
        "user -> frontend is the root SERVER; its PRODUCER and the CONSUMER below it name one broker, so the message is \
            two legs through it, and one message from frontend to backend: 1521186011929043 − (…927475 + 13) µs in the queue. The \
            span without kind is the inside of the consumer.",
        &picture,
    );
    assert_eq!(picture.counts(), (4, 4, 1, 2));
}

#[test]
fn messaging2() {
    let picture = picture("messaging2");
    check(
        "zipkin-messaging2",
        "6 spans name parents that are not in the file: those of transfer-service draw no edge to a caller, above all \
            not from user. Its two orphans without kind count as its requests, its clients name nobody. Its PRODUCER and the CONSUMER of notification-service hang below one absent parent, which \
            says nothing of whose message it was: two legs and no flow. The client 99a4a908…114d \
            of mobile-gateway and the server of auth-service are siblings below one server, hence the inferred edge.",
        &picture,
    );
    assert_eq!(picture.counts(), (11, 11, 1, 4));
}

#[test]
fn simple_db() {
    let picture = picture("simple-db-p6");
    check(
        "zipkin-simple-db-p6",
        "One SERVER root and four clients of app_db, which is a name and no db.system, so it is drawn as an external.",
        &picture,
    );
    assert_eq!(picture.counts(), (5, 5, 1, 1));
}

#[test]
fn ascend() {
    let picture = picture("ascend");
    check(
        "zipkin-ascend",
        "Two clients of mobile-gateway share their ids with one server of auth-service and one of content-service: two calls, \
            not four. The spans without kind are inside of content-service and auth-service.",
        &picture,
    );
    assert_eq!(picture.counts(), (8, 8, 1, 3));
}

#[test]
fn skew() {
    let picture = picture("skew");
    check(
        "zipkin-skew",
        "The server half of 74280ae0 starts 65 ms before its client half: one call all the same, since no rule \
            compares clocks of two hosts.",
        &picture,
    );
    assert_eq!(picture.counts(), (4, 4, 1, 2));
}

#[test]
fn envoy() {
    let picture = picture("envoy");
    check(
        "zipkin-envoy",
        "A proxy without service name: unknown_service, called by user, since a SERVER root has no other caller.",
        &picture,
    );
    assert_eq!(picture.counts(), (1, 1, 1, 1));
}
