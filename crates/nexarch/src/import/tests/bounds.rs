//! Memory and files: what an import holds at once, and how often it opens things.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use super::{
    super::{Error, Options, Shift, Stored, Unreadable, run},
    file, line,
};

const OPTIONS: Options = Options { shift: Shift::No, now_ns: 0, retention_ns: None, progress: false };

/// Sizes of batches.
async fn batches(files: Vec<PathBuf>, options: Options) -> Result<Vec<usize>, Error<String>> {
    let mut sizes = Vec::new();
    let taken = run(files, options, |batch| {
        sizes.push(batch.len());
        std::future::ready(Ok(Stored { accepted: batch.len() as u64, duplicates: 0, expired: 0 }))
    });
    let accepted = taken.await?.accepted;
    assert_eq!(accepted, sizes.iter().sum::<usize>() as u64);
    Ok(sizes)
}

/// A line of a request with one span and `blanks` that mean nothing.
fn long_line(n: u64, blanks: usize) -> String {
    line(n) + &" ".repeat(blanks) + "\n"
}

#[tokio::test]
async fn large_requests_are_handed_on_by_their_bytes() {
    let text: String = (1..=12).map(|n| long_line(n, 3 << 20)).collect();
    let file = file(text.as_bytes());
    let sizes = batches(vec![file.path().to_owned()], Options { now_ns: u64::MAX, ..OPTIONS }).await.unwrap();
    assert_eq!(sizes, [6, 6], "16 MiB are enough");
}

#[tokio::test]
async fn many_large_requests_are_not_held_together() {
    const LINES: u64 = 12;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    let writer = pipe(&path, |out| {
        let blanks = vec![b' '; 40 << 20];
        for n in 1..=LINES {
            out.write_all(line(n).as_bytes())?;
            out.write_all(&blanks)?;
            out.write_all(b"\n")?;
        }
        Ok(())
    });
    let (before, mut most) = (resident_kib(), 0);
    let summary = run(vec![path], Options { now_ns: u64::MAX, ..OPTIONS }, |batch| {
        most = resident_kib().max(most);
        std::future::ready(Ok::<_, ()>(Stored { accepted: batch.len() as u64, duplicates: 0, expired: 0 }))
    });
    assert_eq!(summary.await.unwrap().accepted, LINES);
    writer.join().unwrap();
    assert!(most < before + (360 << 10), "{most} KiB after {before} KiB: 480 MiB were read");
}

fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// A pipe with a name, and a thread that writes to it.
fn pipe(
    path: &Path,
    write: impl FnOnce(&mut fs::File) -> std::io::Result<()> + Send + 'static,
) -> thread::JoinHandle<()> {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    let path = path.to_owned();
    thread::spawn(move || write(&mut fs::OpenOptions::new().write(true).open(path).unwrap()).unwrap())
}

#[tokio::test]
async fn a_pipe_is_read_once_and_whole() {
    let folder = tempfile::tempdir().unwrap();
    // More than is looked at first, and less.
    for spans in [1, 1_000] {
        let path = folder.path().join(format!("pipe{spans}"));
        let text: String = (1..=spans).map(|n| line(n) + "\n").collect();
        let writer = pipe(&path, move |out| out.write_all(text.as_bytes()));
        let plain = file((line(2_000) + "\n").as_bytes());
        let files = vec![plain.path().to_owned(), path];
        let sizes = batches(files, Options { now_ns: u64::MAX, ..OPTIONS }).await.unwrap();
        writer.join().unwrap();
        assert_eq!(sizes.iter().sum::<usize>() as u64, spans + 1);
    }
}

#[tokio::test]
async fn what_can_be_read_only_once_is_not_moved_to_now() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    // Nobody writes to it: opening it would never end.
    let options = Options { shift: Shift::ToNow, ..OPTIONS };
    let error = batches(vec![path.clone()], options).await.unwrap_err();
    assert!(
        matches!(&error, Error::Unreadable(Unreadable::Once { path: named }) if *named == path),
        "{error}"
    );
    assert!(error.to_string().contains("--shift-by"), "{error}");
}

#[tokio::test]
async fn hundreds_of_files_are_not_all_open_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let files: Vec<PathBuf> = (1..=300).map(|n| folder.path().join(n.to_string())).collect();
    for (n, path) in (1..).zip(&files) {
        fs::write(path, line(n)).unwrap();
    }
    let open = || fs::read_dir("/proc/self/fd").unwrap().count();
    let (before, mut most) = (open(), 0);
    let summary = run(files, Options { now_ns: u64::MAX, ..OPTIONS }, |batch| {
        most = open().max(most);
        std::future::ready(Ok::<_, ()>(Stored { accepted: batch.len() as u64, duplicates: 0, expired: 0 }))
    });
    assert_eq!(summary.await.unwrap().accepted, 300);
    assert!(most < before + 100, "{most} after {before}");
}
