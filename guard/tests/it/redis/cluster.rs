//! A cluster of three real servers.

use std::process::Command;

use symbolon_guard::{
    SecretText,
    store::{
        Loaded, Opened, Part, SessionStore,
        redis::{Redis, Settings, Trouble, adopt::ConnectRedis},
    },
};

use super::{
    NOW, opening,
    server::{self, Server, until},
};
use crate::stores::conforms;

struct Cluster(Vec<Server>);

impl Cluster {
    async fn start() -> Option<Self> {
        let mut nodes = Vec::new();
        for _ in 0..3 {
            let bus = server::free_port().to_string();
            let arguments = ["--cluster-enabled", "yes", "--cluster-port", &bus];
            nodes.push(Server::on_a_port(&arguments).await?);
        }
        let mut create = Command::new("redis-cli");
        create.args(["--cluster", "create"]);
        create.args(nodes.iter().map(|node| format!("127.0.0.1:{}", node.port())));
        let Ok(created) = create.arg("--cluster-yes").output() else {
            println!("skipped, because redis-cli is not installed");
            return None;
        };
        assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stdout));
        let this = Self(nodes);
        until("all nodes agree", async || {
            for node in &this.0 {
                let info: String = node.ask(&[b"CLUSTER", b"INFO"]).await;
                if !info.contains("cluster_state:ok") {
                    return None;
                }
            }
            Some(())
        })
        .await;
        Some(this)
    }

    fn settings(&self) -> Settings {
        let urls: Vec<_> = self.0.iter().map(Server::url).collect();
        let urls: Vec<_> = urls.iter().map(String::as_str).collect();
        Settings::cluster(&urls).unwrap().deadline(server::DEADLINE)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cluster_conforms() {
    let Some(cluster) = Cluster::start().await else { return };
    conforms(Redis::open(cluster.settings().with_events(100_000)).await.unwrap(), 50).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn stores_of_any_name_find_their_node() {
    let Some(cluster) = Cluster::start().await else { return };
    for name in ["a", "b", "c", "shop", "blog"] {
        let store = Redis::open(cluster.settings().named(name).unwrap()).await.unwrap();
        let [visitor, login] = [opening(None), opening(Some("user"))];
        assert!(matches!(store.create(&visitor, NOW).await.unwrap(), Opened::Live(_)));
        assert!(matches!(store.renew(visitor.id, &login, NOW).await.unwrap(), Opened::Live(_)));
        assert_eq!(store.list("user", NOW).await.unwrap().len(), 1, "{name}");
        let found = store.load(login.id, Part::All, NOW).await.unwrap();
        assert!(matches!(found, Loaded::Live(_, Some(_))));
    }
    // One server of it, asked as if it were alone, says so.
    for node in &cluster.0 {
        let opened = Redis::open(node.settings().deadline(server::DEADLINE)).await;
        assert_eq!(opened.unwrap_err(), Trouble::Clustered);
    }
    let store = Redis::open(cluster.settings()).await.unwrap();
    let secret = SecretText::new("old".to_owned());
    assert!(matches!(ConnectRedis::new(&store, &secret), Err(Trouble::CrossSlot(_))));
}
