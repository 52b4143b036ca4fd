//! `nexarch cache watch` on a real terminal, and where there is none.

use std::{
    io::{Read, Write},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use serde_json::Value;

use crate::support::{encode::native, home::Home, server::Server, spans::call, wait};

const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

/// A program whose output is read as it comes.
struct Running {
    child: Child,
    keyboard: Option<ChildStdin>,
    said: Arc<Mutex<String>>,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let said = Arc::<Mutex<String>>::default();
        let (copy, mut stdout) = (Arc::clone(&said), child.stdout.take().unwrap());
        thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(length @ 1..) = stdout.read(&mut piece) {
                copy.lock().unwrap().push_str(&String::from_utf8_lossy(&piece[..length]));
            }
        });
        let keyboard = child.stdin.take();
        Self { child, keyboard, said }
    }

    fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Waits until what was said fits.
    fn until(&self, what: &str, fits: impl Fn(&str) -> bool) -> String {
        wait::until(what, || Some(self.said()).filter(|said| fits(said)))
    }

    fn press(&mut self, keys: &str) {
        let keyboard = self.keyboard.as_mut().unwrap();
        keyboard.write_all(keys.as_bytes()).unwrap();
        keyboard.flush().unwrap();
    }

    fn end(mut self) -> (ExitStatus, String) {
        let status = wait::until("the end of the program", || self.child.try_wait().unwrap());
        wait::until("the end of its output", || (Arc::strong_count(&self.said) == 1).then_some(()));
        (status, self.said())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A terminal of this size with `nexarch cache watch` in it: `script` makes one and types what it is given.
fn on_terminal(home: &Home, server: &Server, key: &str, columns: u32, settings: &[(&str, &str)]) -> Running {
    let program = env!("CARGO_BIN_EXE_nexarch");
    let watch = format!("{program} cache watch --interval 1s --url {}", server.base());
    // A shell that controls jobs: what is stopped goes on at once, as by `fg`.
    let line = format!(
        "stty cols {columns} rows 30; set -m; sh -c 'echo job $$; exec {watch}'; code=$?
         while [ $code = 147 ]; do echo stopped; fg > /dev/null; code=$?; done; exit $code"
    );
    let mut command = Command::new("script");
    command.args(["-q", "-e", "-c", &line, "/dev/null"]).current_dir(home.path()).env_clear();
    command.envs([
        ("TERM", "xterm"),
        ("NEXARCH_API_KEY", key),
        ("PATH", "/usr/bin:/bin"),
        ("SHELL", "/bin/bash"),
    ]);
    Running::start(command.envs(settings.iter().copied()))
}

/// The picture that is seen last.
fn picture(said: &str) -> &str {
    said.rsplit("\x1b[H").next().unwrap()
}

/// A picture without what is no character of it.
fn plain(picture: &str) -> String {
    let mut text = String::new();
    let mut rest = picture;
    while let Some((before, after)) = rest.split_once('\x1b') {
        text.push_str(before);
        rest = after.trim_start_matches(|c: char| !c.is_ascii_alphabetic()).get(1..).unwrap_or("");
    }
    text + rest
}

/// The figures of an operation in a picture.
fn row(picture: &str, name: &str) -> Vec<String> {
    let text = plain(picture);
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or("");
    line.split_whitespace().map(str::to_owned).collect()
}

fn started() -> (Home, Server, String) {
    let home = Home::new();
    let mut server = home.serve();
    let key = server.first_key();
    server.client(&key).batch(&native(&call(1))).expect(202);
    (home, server, key)
}

#[test]
fn the_table_follows_the_server_and_the_terminal_is_given_back() {
    let (home, mut server, key) = started();
    let client = server.client(&key);
    let mut watch = on_terminal(&home, &server, &key, 150, &[]);
    let said = watch.until("a picture", |said| picture(said).contains("Ctrl-C ends"));
    assert_eq!(said.matches(ENTER).count(), 1, "{said:?}");
    assert!(plain(picture(&said)).starts_with("tenant default on node "), "{said:?}");
    assert!(
        picture(&said).contains("\x1b[32mcache memory\x1b[0m") && picture(&said).contains(server.base()),
        "{said:?}"
    );
    assert_eq!(row(picture(&said), "services")[1..3], ["0", "–"], "no rate at the first look");
    for _ in 0..4 {
        client.get("/api/v1/dashboard/services").expect(200);
    }
    let fits = |said: &str| picture(said).contains("Ctrl-C") && row(picture(said), "services")[1] == "4";
    let said = watch.until("the reads", fits);
    let figures = row(picture(&said), "services");
    assert!(figures[2].ends_with("/s"), "{figures:?}");
    assert_eq!(figures[3..7], ["75.0", "%", "75.0", "%"], "in all, and since the look before");
    // The server goes away: what was seen stays, and says how old it is.
    server.kill();
    let said = watch.until("the loss", |said| picture(said).contains("connection refused"));
    assert!(
        plain(picture(&said)).contains(" s old, trying again") && picture(&said).contains("services"),
        "{said:?}"
    );
    watch.press("\x03");
    let (status, said) = watch.end();
    assert_eq!(status.code(), Some(0), "{said:?}");
    let (_, after) =
        said.split_once(LEAVE).unwrap_or_else(|| panic!("the terminal is not given back: {said:?}"));
    assert!(!after.contains("\x1b[?") && !after.contains("\x1b[H"), "{after:?}");
    assert_eq!(row(after, "services")[1], "4", "the last figures stay: {after:?}");
}

#[test]
fn the_terminal_is_given_back_to_who_stops_or_kills_it() {
    let (home, server, key) = started();
    let mut watch = on_terminal(&home, &server, &key, 150, &[]);
    let said = watch.until("a picture", |said| picture(said).contains("Ctrl-C ends"));
    let pid = said.split("job ").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap().to_owned();
    // Ctrl-Z gives the shell its screen, and `fg` takes it again.
    watch.press("\x1a");
    let said = watch.until("its own screen again", |said| said.matches(ENTER).count() == 2);
    let (_, stopped) = said.split_once(LEAVE).unwrap();
    assert!(stopped.contains("stopped") && stopped.find("stopped") < stopped.find(ENTER), "{said:?}");
    watch.until("a picture", |said| said.rsplit(ENTER).next().unwrap().contains("Ctrl-C ends"));
    let line = format!("kill -TERM {pid}");
    assert!(Command::new("sh").args(["-c", &line]).status().unwrap().success());
    let (status, said) = watch.end();
    assert_eq!(status.code(), Some(0), "{said:?}");
    assert_eq!(said.matches(LEAVE).count(), 2, "{said:?}");
}

#[test]
fn a_narrow_terminal_and_no_color_are_respected() {
    let (home, server, key) = started();
    let watch = on_terminal(&home, &server, &key, 64, &[("NO_COLOR", "1")]);
    let said = watch.until("a picture", |said| picture(said).contains("Ctrl-C ends"));
    let text = plain(picture(&said));
    assert!(text.lines().all(|line| line.chars().count() <= 64), "{text}");
    assert!(text.contains("no room for lately, hit p50"), "{text}");
    assert!(!said.contains("\x1b[1m") && !said.contains("\x1b[32m"), "{said:?}");
}

#[test]
fn without_a_terminal_each_look_is_a_table_or_a_line_of_json() {
    let (home, server, key) = started();
    for (json, dumb) in [(false, false), (true, false), (false, true)] {
        let mut command = home.command(["cache", "watch", "--interval", "1s", "--url", server.base()]);
        command.env("NEXARCH_API_KEY", &key);
        if json {
            command.arg("--json");
        }
        let watch = if dumb {
            on_terminal(&home, &server, &key, 150, &[("TERM", "dumb")])
        } else {
            Running::start(&mut command)
        };
        let mark = if json { "\"tenant_id\":\"default\"" } else { "OPERATION" };
        let said = watch.until("two looks", |said| said.matches(mark).count() >= 2);
        assert!(!said.contains('\x1b'), "{said:?}");
        if json {
            let line: Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
            assert_eq!(line["operations"]["services"]["requests"], 0);
        }
    }
}

#[test]
fn what_is_wrong_from_the_start_ends_it() {
    let (home, server, _) = started();
    for extra in [&[][..], &["--json"]] {
        let mut command = home.command(["cache", "watch", "--url", server.base()]);
        let output = command.args(extra).env("NEXARCH_API_KEY", "nex_wrong").output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("the API key is unknown"), "{output:?}");
    }
}

/// A key that is not taken any more is not tried for ever.
#[test]
fn a_key_that_is_revoked_ends_it() {
    let (home, server, _) = started();
    for extra in [&[][..], &["--json"]] {
        let made = home.json(["key", "create", "--tenant", "default", "--scope", "read", "--json"]);
        let mut command = home.command(["cache", "watch", "--interval", "1s", "--url", server.base()]);
        let watch = Running::start(command.args(extra).env("NEXARCH_API_KEY", made["key"].as_str().unwrap()));
        watch.until("a look", |said| said.contains("services"));
        home.json(["key", "revoke", made["key_id"].as_str().unwrap(), "--json"]);
        let (status, said) = watch.end();
        assert_eq!(status.code(), Some(1), "{said:?}");
    }
}
