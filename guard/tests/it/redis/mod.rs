//! The store in Redis against a real server.

mod server;

use symbolon_guard::store::redis::Redis;

use self::server::Server;
use crate::stores::conforms;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn redis_conforms() {
    let Some(server) = Server::start(&[]).await else { return };
    let settings = server.settings().deadline(server::DEADLINE).with_events(100_000);
    conforms(Redis::open(settings).await.unwrap()).await;
}
