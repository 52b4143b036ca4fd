//! Packed answers of cached reads: the same bytes in fewer, packed once, chosen as the client weighs them.

use std::io::Read as _;

use crate::support::{
    client::{Client, Reply},
    encode::native,
    home::Home,
    spans::Span,
    wait,
};

const SERVICES: &str = "/api/v1/dashboard/services";

fn get(client: &Client, accept: &str) -> Reply {
    client.get_with(SERVICES, &[("Accept-Encoding", accept)]).expect(200)
}

fn unpacked(reply: &Reply) -> Vec<u8> {
    let mut plain = Vec::new();
    match reply.header("Content-Encoding") {
        "gzip" => drop(flate2::read::GzDecoder::new(&*reply.body).read_to_end(&mut plain).unwrap()),
        "zstd" => plain = zstd::decode_all(&*reply.body).unwrap(),
        "" => plain.clone_from(&reply.body),
        other => panic!("{other}"),
    }
    plain
}

#[test]
fn popular_answers_are_packed_as_the_client_weighs_and_stay_the_same() {
    let home = Home::new();
    let mut server = home.serve();
    let client = server.first_client();
    let services: Vec<_> = (1..=50).map(|id| Span::new(1, id, &format!("service-{id}"), 2)).collect();
    client.batch(&native(&services)).expect(202);
    let plain = client.get_with(SERVICES, &[("Accept-Encoding", "identity")]).expect(200);
    assert_eq!(plain.header("Content-Encoding"), "");
    let bytes = || client.get("/api/v1/cache/stats").ok()["memory"]["bytes"].as_u64().unwrap();
    let before = bytes();
    for (accept, coding) in
        [("gzip", "gzip"), ("gzip, deflate, br, zstd", "zstd"), ("zstd;q=0.1, gzip;q=0.2", "gzip")]
    {
        let packed = wait::until("a packed answer", || {
            let reply = get(&client, accept);
            assert_eq!(unpacked(&reply), plain.body);
            (reply.header("Content-Encoding") == coding).then_some(reply)
        });
        assert!(packed.body.len() * 4 < plain.body.len(), "{} of {}", packed.body.len(), plain.body.len());
        assert_eq!(packed.header("ETag"), plain.header("ETag"));
        assert!(packed.header("Vary").contains("Accept-Encoding"));
        assert!(packed.header("Cache-Status").starts_with("nexarch; hit; detail=memory"));
        let held = [("Accept-Encoding", accept), ("If-None-Match", packed.header("ETag"))];
        let unchanged = client.get_with(SERVICES, &held).expect(304);
        assert_eq!((unchanged.header("Content-Encoding"), unchanged.body.len()), ("", 0));
    }
    assert!(bytes() > before, "the packed forms count among the tenant's bytes");
    for accept in ["br", "gzip;q=0", "identity, gzip;q=0.5"] {
        assert_eq!(get(&client, accept).header("Content-Encoding"), "", "{accept}");
    }
    // A newer answer is never met by an older form.
    client.batch(&native(&[Span::new(2, 1, "newcomer", 2)])).expect(202);
    let newer = get(&client, "gzip");
    assert!(String::from_utf8(unpacked(&newer)).unwrap().contains("newcomer"));
    // Who refuses everything else gets it at once.
    client.batch(&native(&[Span::new(3, 1, "latest", 2)])).expect(202);
    let only = get(&client, "gzip, identity;q=0");
    assert_eq!(only.header("Content-Encoding"), "gzip");
    assert!(String::from_utf8(unpacked(&only)).unwrap().contains("latest"));
}
