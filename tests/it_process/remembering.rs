//! The store as the ledger: what it knows of a process before, while and after it runs.

use std::sync::Arc;
use std::time::Duration;

use hob::backend::process::{KeeperProgram, Ledger, Spawner, SpawnerOptions, StoreLedger, mark};
use hob::store::Store;

use crate::stage::*;

#[tokio::test]
async fn the_store_knows_the_keeper_and_the_agent_exactly_as_long_as_they_may_live() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Store::open(&dir.path().join("hob.db")).expect("opens");
    let ledger = Arc::new(StoreLedger::new(store.clone()));
    let spawner = Spawner::start(SpawnerOptions {
        keeper: KeeperProgram::Path(env!("CARGO_BIN_EXE_hobd").into()),
        ledger: Arc::clone(&ledger) as _,
        orphan_grace: Duration::from_millis(50),
        debug: true,
    })
    .await
    .expect("starts");

    let process = spawner.spawn(sh("read line", dir.path())).await.expect("starts");
    let rows = ledger.open().await.expect("is readable");
    let [row] = rows.as_slice() else { panic!("one row: {rows:?}") };
    let keeper = parent_of(process.pid).expect("has a keeper");
    assert_eq!((row.pid, row.start_time), (Some(keeper), Some(start_time(keeper))));
    assert_eq!((row.agent_pid, row.agent_start_time), (Some(process.pid), Some(start_time(process.pid))));
    let mark = mark::read(process.pid).expect("is marked");
    assert_eq!((mark.installation, mark.attempt), (spawner.installation(), row.attempt));

    process.handle.stop(true);
    soon("the end", process.handle.gone()).await;
    assert_eq!(ledger.open().await.expect("is readable"), []);
    spawner.close().await;
    store.close().await.expect("closes");
}
