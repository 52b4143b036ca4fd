//! Clients that mean no good, or are only broken: the server stays responsive and its memory bounded.

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::Duration,
};

use crate::support::{
    encode::field,
    home::Home,
    server::Server,
    wait::{self, PATIENCE, now_ns},
};

/// What one connection may cost, generously (KiB): two buffers and a task.
const CONNECTION_KIB: u64 = 48;
/// What a flood may leave behind (KiB).
const FLOOD_KIB: u64 = 48 * 1024;

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.base().trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Memory of the server in use, KiB.
fn resident(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

fn is_well(server: &Server) {
    server.stranger().get("/api/v1/health").expect(200);
}

/// Waits until the other side has closed; what it still said is thrown away.
fn until_closed(stream: &mut TcpStream) {
    let mut piece = [0; 4096];
    wait::until("the end of a connection", || match stream.read(&mut piece) {
        Ok(0) => Some(()),
        Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => Some(()),
        Ok(_) => None,
        Err(error) => panic!("{error}"),
    });
}

#[test]
fn a_head_that_drips_is_cut_off_and_nobody_else_notices() {
    let home = Home::new();
    let server = home.serve();
    let mut drippers: Vec<TcpStream> = (0..40).map(|_| connect(&server)).collect();
    for (index, stream) in drippers.iter_mut().enumerate() {
        // Some begin like HTTP/2, so that the choice of the protocol is dragged out too.
        stream
            .write_all(if index % 2 == 0 { b"GET /api/v1/health HTTP/1.1\r\nX: " } else { b"PRI * H" })
            .unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    }
    let mut drippers: Vec<(usize, TcpStream)> = drippers.into_iter().enumerate().collect();
    wait::until("the end of all drippers", || {
        is_well(&server);
        drippers.retain_mut(|(index, stream)| {
            // The pace is that of the read that finds nothing.
            let sent = *index % 2 == 1 || stream.write_all(b"x").is_ok();
            let silent = |kind| matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut);
            sent && match stream.read(&mut [0; 512]) {
                Ok(bytes) => bytes > 0,
                Err(error) => silent(error.kind()),
            }
        });
        drippers.is_empty().then_some(())
    });
}

#[test]
fn a_thousand_idle_connections_cost_little_and_more_than_all_places_are_served_late() {
    // 2,048 places: the crowd that is silent makes room.
    const CROWD: usize = 2_100;
    nexarch::door::raise_limit();
    let home = Home::new();
    let server = home.serve();
    is_well(&server);
    let before = resident(&server);
    let mut idle: Vec<TcpStream> = (0..1_000).map(|_| connect(&server)).collect();
    is_well(&server);
    let grown = resident(&server).saturating_sub(before);
    assert!(grown < 1_000 * CONNECTION_KIB, "{grown} KiB for 1,000 idle connections");
    idle.extend((idle.len()..CROWD).map(|_| connect(&server)));
    // Late, but served: within the patience of the client.
    is_well(&server);
    until_closed(&mut idle[0]);
}

#[test]
fn bodies_that_stop_half_way_hold_no_more_than_they_sent() {
    const SENT: usize = 10_000;
    let home = Home::new();
    let mut server = home.serve();
    let client = server.first_client();
    let key = server.first_key();
    let start = format!(
        "POST /v1/traces HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n"
    );
    let half = [start.as_bytes(), &vec![b' '; SENT]].concat();
    let mut stopped: Vec<TcpStream> = (0..200).map(|_| connect(&server)).collect();
    for stream in &mut stopped {
        stream.write_all(&half).unwrap();
    }
    let held = || client.get("/api/v1/ingest/stats").ok()["queue"]["inflight_bytes"].as_u64().unwrap();
    wait::until("all halves", || (held() == (200 * SENT) as u64).then_some(()));
    is_well(&server);
    drop(stopped);
    wait::until("the room", || (held() == 0).then_some(()));
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
/// `GET http://x/` in HPACK: three entries of the static table and a literal.
const GET: &[u8] = &[0x82, 0x86, 0x84, 0x41, 1, b'x'];

fn http2(server: &Server) -> TcpStream {
    let mut stream = connect(server);
    stream
        .write_all(&[&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(SETTINGS, 0, 0, &[])].concat())
        .unwrap();
    stream
}

/// Sends pieces until the server ends the connection; how many it took, at most `most`.
fn flood(server: &Server, most: u32, mut piece: impl FnMut(u32) -> Vec<u8>) -> u32 {
    let mut stream = http2(server);
    let mut reader = stream.try_clone().unwrap();
    // Answers are taken off, or the flood would only wait for itself.
    let reading = std::thread::spawn(move || until_closed(&mut reader));
    let sent = (0..most).take_while(|nth| stream.write_all(&piece(*nth)).is_ok()).count();
    if sent < most as usize {
        reading.join().unwrap();
    } else {
        stream.shutdown(std::net::Shutdown::Both).unwrap();
        reading.join().unwrap();
    }
    u32::try_from(sent).unwrap()
}

#[test]
fn floods_of_http2_are_ended_or_carried_within_bounds() {
    const PIECES: u32 = 4_000;
    let home = Home::new();
    let server = home.serve();
    is_well(&server);
    let before = resident(&server);

    // Requests that are taken back at once (CVE-2023-44487), 100 in one piece.
    let reset = |nth: u32| -> Vec<u8> {
        let of = |n: u32| {
            let stream = 2 * (nth * 100 + n) + 1;
            [frame(HEADERS, 0x05, stream, GET), frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())].concat()
        };
        (0..100).flat_map(of).collect()
    };
    assert!(flood(&server, PIECES, reset) < PIECES, "resets without end were taken");
    is_well(&server);

    // One head in pieces without end (CVE-2024-27316): 16 KiB each, 64 MiB in all.
    let endless = |nth: u32| {
        let (kind, start) = if nth == 0 { (HEADERS, GET) } else { (CONTINUATION, &[][..]) };
        // A literal that is not indexed: name `a`, value of 8,000 bytes.
        let literal = [&[0, 1, b'a', 0x7f, 0xc1, 0x3d][..], &vec![b'v'; 8_000]].concat();
        frame(kind, 0, 1, &[start, &literal, &literal].concat())
    };
    assert!(flood(&server, PIECES, endless) < PIECES, "a head without end was taken");
    is_well(&server);

    // Pings and settings ask for an answer each: they may go on, but nothing may pile up.
    flood(&server, PIECES, |_| frame(PING, 0, 0, &[7; 8]).repeat(100));
    flood(&server, PIECES, |_| frame(SETTINGS, 0, 0, &[]).repeat(100));
    is_well(&server);
    let grown = resident(&server).saturating_sub(before);
    assert!(grown < FLOOD_KIB, "{grown} KiB are left of the floods");
}

#[test]
fn answers_that_nobody_reads_do_not_pile_up() {
    let home = Home::new();
    let server = home.serve();
    is_well(&server);
    let before = resident(&server);
    let mut stream = http2(&server);
    // Never read: the server stops reading when its answers do not get away.
    stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    let pings = frame(PING, 0, 0, &[7; 8]).repeat(1_000);
    let sent = (0..20_000).take_while(|_| stream.write_all(&pings).is_ok()).count();
    assert!(sent < 20_000, "340 MB of pings were taken without one answer read");
    is_well(&server);
    let grown = resident(&server).saturating_sub(before);
    assert!(grown < FLOOD_KIB, "{grown} KiB");
}

/// A request of one resource with 5 MB of attributes that do not compress, and so many small spans.
fn of_a_heavy_resource(spans: u64) -> Vec<u8> {
    let mut state = 1_u64;
    let mut noise = |len: usize| -> Vec<u8> {
        let next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state.to_be_bytes()[0]
        };
        std::iter::repeat_with(next).take(len).collect()
    };
    let pair = |nth: u32| {
        let value = field(2, &field(7, &noise(64 << 10)));
        field(1, &[field(1, format!("blob.{nth}").as_bytes()), value].concat())
    };
    let resource: Vec<u8> = (0..80).flat_map(pair).collect();
    let start = [&[7 << 3 | 1][..], &now_ns().to_le_bytes()].concat();
    let span = |id: u64| field(2, &[field(1, &[1; 16]), field(2, &id.to_be_bytes()), start.clone()].concat());
    let spans: Vec<u8> = (1..=spans).flat_map(span).collect();
    field(1, &[field(1, &resource), field(2, &spans)].concat())
}

#[test]
fn a_heavy_resource_is_stored_once_and_not_for_each_span() {
    let home = Home::new();
    let mut server = home.serve();
    let client = server.first_client();
    let before = resident(&server);
    client.otlp_protobuf(&of_a_heavy_resource(200)).expect(200);
    assert_eq!(client.total_spans(), 200);
    let told = client.get("/api/v1/ingest/diagnostics").ok();
    assert!(told.to_string().contains("cut"), "{told}");
    let grown = resident(&server).saturating_sub(before);
    assert!(grown < 100 * 1024, "{grown} KiB");
    drop(server);
    let stored: u64 =
        fs::read_dir(home.path()).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum();
    assert!(stored < 4 << 20, "{stored} bytes");
}
