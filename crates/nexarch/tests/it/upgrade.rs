//! A database of an older version: what a newer program does with it before its server was started.

use std::{fs, io::Read};

use crate::support::home::Home;

/// `PRAGMA user_version`, as it stands in the header of the file.
fn schema(home: &Home) -> u32 {
    let bytes = fs::read(home.database()).unwrap();
    u32::from_be_bytes(bytes[60..64].try_into().unwrap())
}

#[test]
fn nothing_upgrades_a_database_but_the_start_of_its_server() {
    let home = Home::new();
    let packed = concat!(env!("CARGO_MANIFEST_DIR"), "/../nexarch-store/fixtures/schema-1.db.gz");
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(fs::File::open(packed).unwrap()).read_to_end(&mut bytes).unwrap();
    fs::write(home.database(), bytes).unwrap();
    for args in [&["key", "list", "--tenant", "acme"][..], &["tenant", "list"], &["tenant", "create", "new"]]
    {
        let refused = home.output(args.iter().copied());
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(said.contains("nexarch backup") && said.contains("start the server"), "{said}");
    }
    let doctor = home.output(["doctor"]);
    assert!(doctor.status.success(), "{doctor:?}");
    let said = String::from_utf8(doctor.stdout).unwrap();
    assert!(said.contains("2 tenants, written by an older nexarch") && said.contains("backup"), "{said}");
    let copy = home.path().join("before.db");
    let made = home.output(["backup", copy.to_str().unwrap()]);
    assert!(made.status.success(), "{made:?}");
    assert_eq!(schema(&home), 1);
    let mut server = home.serve();
    // It has heard of signals by now.
    server.stranger().get("/api/v1/health").expect(200);
    assert!(server.terminate().success());
    assert!(schema(&home) > 1);
    assert!(home.output(["tenant", "list"]).status.success());
    // And back, by the backup.
    fs::copy(copy, home.database()).unwrap();
    assert_eq!(schema(&home), 1);
    home.serve();
}
