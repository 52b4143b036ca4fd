//! A remote under test, and waiting for what it says.

use nexarch_cache::{RedisConfig, RedisRemote, Remote, RemoteError, RemoteStatus};
use nexarch_testkit::PATIENCE;
use std::sync::{Arc, Mutex, OnceLock};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A remote with its tasks.
pub(crate) struct Rig {
    pub(crate) remote: Arc<RedisRemote>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// A busy machine makes no call late: for whoever asks a server that answers.
pub(crate) fn config(port: u16) -> RedisConfig {
    hasty(port).command_timeout(PATIENCE)
}

/// With the product's own command timeout: for whoever looks at what is late.
pub(crate) fn hasty(port: u16) -> RedisConfig {
    RedisConfig::new("127.0.0.1").port(port).namespace("test")
}

pub(crate) fn rig(config: &RedisConfig) -> Rig {
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let remote = RedisRemote::start(config, &tasks, &stop).unwrap();
    Rig { remote, tasks, stop }
}

/// A remote that is connected, messages and all.
pub(crate) async fn connected(config: &RedisConfig) -> Rig {
    let rig = rig(config);
    rig.until("values and messages", |status| status.values && status.messages).await;
    rig
}

impl Rig {
    /// Waits for a status; panics with the last one when it does not come.
    pub(crate) async fn until(&self, what: &str, is: impl FnMut(&RemoteStatus) -> bool) -> RemoteStatus {
        let mut status = self.remote.status();
        let waited =
            tokio::time::timeout(PATIENCE, status.wait_for(is)).await.map(|status| status.unwrap().clone());
        waited.unwrap_or_else(|_| {
            panic!(
                "waited in vain for {what}: {:?} {:?}",
                self.remote.status().borrow(),
                self.remote.problem()
            )
        })
    }

    /// What a call to a server that answers gives in the end: a busy machine may make a few of them late.
    pub(crate) async fn in_the_end<T, F>(&self, call: impl Fn() -> F) -> T
    where
        F: Future<Output = Result<T, RemoteError>>,
    {
        const LATE: usize = 10;
        for _ in 0..LATE {
            match call().await {
                Ok(value) => return value,
                Err(error) => {
                    assert!(matches!(error, RemoteError::Timeout | RemoteError::Away), "{error}");
                }
            }
            self.until("values and messages", |status| status.values && status.messages).await;
        }
        panic!("late {LATE} times in a row");
    }

    /// The tracker of its tasks, for what belongs to it.
    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// What ends its tasks.
    pub(crate) fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    pub(crate) fn status(&self) -> RemoteStatus {
        self.remote.status().borrow().clone()
    }

    /// Ends it and waits for all its tasks.
    pub(crate) async fn end(self) {
        self.stop.cancel();
        self.tasks.close();
        tokio::time::timeout(PATIENCE, self.tasks.wait()).await.expect("tasks that end");
    }
}

/// Looks until something is so; panics when it is not within [`PATIENCE`].
pub(crate) async fn eventually(what: &str, is: impl Fn() -> bool) {
    let looking = async {
        let mut look = tokio::time::interval(std::time::Duration::from_millis(5));
        // Looking may take longer than that, and what is waited for needs the thread, too.
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !is() {
            look.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("waited in vain for {what}"));
}

/// What this thread logs while it lives: a test's runtime has one thread.
pub(crate) struct Log {
    text: Arc<Mutex<Vec<u8>>>,
    _guard: tracing::subscriber::DefaultGuard,
}

impl Log {
    /// Events of `info` and above.
    pub(crate) fn start() -> Self {
        let text = Arc::<Mutex<Vec<u8>>>::default();
        let copy = Arc::clone(&text);
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(tracing::Level::INFO)
            .with_writer(move || Copy(Arc::clone(&copy)))
            .finish();
        keep_a_second_subscriber();
        Self { text, _guard: tracing::subscriber::set_default(subscriber) }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.text.lock().unwrap().clone()).unwrap()
    }

    pub(crate) fn lines(&self, part: &str) -> Vec<String> {
        self.text().lines().filter(|line| line.contains(part)).map(str::to_owned).collect()
    }
}

/// While one subscriber alone is alive, tracing asks the thread that first reaches an event whether anybody wants it
/// and keeps a "no" for every thread, so a test without a log could silence one that has it. With a second subscriber
/// that is never dropped each thread is asked for itself.
fn keep_a_second_subscriber() {
    static SECOND: OnceLock<tracing::Dispatch> = OnceLock::new();
    SECOND.get_or_init(|| {
        tracing::Dispatch::new(tracing_subscriber::fmt().with_writer(std::io::sink).finish())
    });
}

struct Copy(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Copy {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
