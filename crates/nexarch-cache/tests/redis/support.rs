//! A remote under test, and waiting for what it says.

use nexarch_cache::{RedisConfig, RedisRemote, Remote, RemoteStatus};
use nexarch_testkit::PATIENCE;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A remote with its tasks.
pub(crate) struct Rig {
    pub(crate) remote: Arc<RedisRemote>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

pub(crate) fn config(port: u16) -> RedisConfig {
    RedisConfig::new("127.0.0.1").port(port).namespace("test")
}

pub(crate) fn rig(config: RedisConfig) -> Rig {
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let remote = RedisRemote::start(config, &tasks, &stop).unwrap();
    Rig { remote, tasks, stop }
}

/// A remote that is connected, messages and all.
pub(crate) async fn connected(config: RedisConfig) -> Rig {
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
