//! A real object store, Garage: three nodes on loopback that keep each object three times,
//! of which one is killed in the middle.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::sandbox::{Run, Sandbox, Watchdog};
use crate::common::shell::have;
use crate::proxy::{Fault, Proxy, Request};
use crate::scene::{finish, stream, summary};

const NODES: usize = 3;
/// What Garage takes for the names and secrets of keys.
const KEY: &str = "GK0123456789abcdef01234567";
const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const URL: &str = "s3://bucket/hosts/all";
const PATIENCE: Duration = Duration::from_secs(60);

/// The server, if it is installed.
fn garage() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/garage/bin/garage");
    have(path.to_str().unwrap()).then_some(path)
}

/// A cluster with a bucket; it ends when it is dropped.
struct Cluster {
    binary: PathBuf,
    sandbox: Sandbox,
    ports: Vec<u16>,
    nodes: Vec<Mutex<Option<Child>>>,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        (0..NODES).for_each(|node| self.kill(node));
    }
}

impl Cluster {
    fn start() -> Option<Self> {
        let start = Instant::now();
        // Held until all are known, so that none is given out twice.
        let held: Vec<_> = (0..2 * NODES)
            .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
            .collect();
        let ports = held.iter().map(|port| port.local_addr().unwrap().port());
        let cluster = Self {
            binary: garage()?,
            sandbox: Sandbox::on_disk(),
            ports: ports.collect(),
            nodes: (0..NODES).map(|_| Mutex::default()).collect(),
        };
        drop(held);
        (0..NODES).for_each(|node| cluster.configure(node));
        (0..NODES).for_each(|node| cluster.launch(node));
        let ids = (0..NODES).map(|node| cluster.id(node));
        let ids: Vec<String> = ids.collect();
        for id in &ids[1..] {
            cluster.until("the nodes listen", || {
                cluster.run(0, &["node", "connect", id]).status.success()
            });
        }
        cluster.wait_for_all();
        let names: Vec<&str> = ids.iter().map(|id| id.split('@').next().unwrap()).collect();
        let assign = ["layout", "assign", "--zone", "here", "--capacity", "10G"];
        cluster.must(0, &[&assign, names.as_slice()].concat());
        cluster.must(0, &["layout", "apply", "--version", "1"]);
        cluster.until("the layout is in use", || {
            cluster
                .run(0, &["key", "import", "--yes", "-n", "key", KEY, SECRET])
                .status
                .success()
        });
        cluster.must(0, &["bucket", "create", "bucket"]);
        let allow = ["bucket", "allow", "--read", "--write", "--owner", "bucket"];
        cluster.must(0, &[&allow, ["--key", KEY].as_slice()].concat());
        println!("{NODES} nodes after {:?}", start.elapsed());
        Some(cluster)
    }

    fn dir(&self, node: usize) -> PathBuf {
        self.sandbox.path().join(format!("node-{node}"))
    }

    /// What the node calls itself, once it is there.
    fn id(&self, node: usize) -> String {
        let id = ["node", "id", "--quiet"];
        self.until("the node has a name", || {
            self.run(node, &id).status.success()
        });
        self.must(node, &id)
    }

    fn configure(&self, node: usize) {
        let dir = self.dir(node);
        fs::create_dir_all(&dir).unwrap();
        let (rpc, api) = (self.ports[node], self.ports[NODES + node]);
        let text = format!(
            "metadata_dir = \"{0}/meta\"\ndata_dir = \"{0}/data\"\ndb_engine = \"sqlite\"\n\
             replication_factor = {NODES}\nrpc_bind_addr = \"127.0.0.1:{rpc}\"\n\
             rpc_public_addr = \"127.0.0.1:{rpc}\"\nrpc_secret = {SECRET:?}\n\
             [s3_api]\ns3_region = \"us-east-1\"\napi_bind_addr = \"127.0.0.1:{api}\"\n",
            dir.display(),
        );
        fs::write(dir.join("garage.toml"), text).unwrap();
    }

    fn command(&self, node: usize, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .arg("-c")
            .arg(self.dir(node).join("garage.toml"))
            .args(arguments)
            .env("HOME", self.sandbox.path())
            .stdin(Stdio::null());
        command
    }

    fn run(&self, node: usize, arguments: &[&str]) -> Output {
        self.command(node, arguments).output().unwrap()
    }

    #[track_caller]
    fn must(&self, node: usize, arguments: &[&str]) -> String {
        let output = self.run(node, arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn launch(&self, node: usize) {
        let log = fs::File::create(self.dir(node).join("log")).unwrap();
        let child = self
            .command(node, &["server"])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        *self.nodes[node].lock().unwrap() = Some(child);
    }

    /// Kills a node as a power cut would.
    fn kill(&self, node: usize) {
        if let Some(mut child) = self.nodes[node].lock().unwrap().take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Waits until every node sees all of them.
    fn wait_for_all(&self) {
        self.until("all nodes see each other", || {
            (0..NODES).all(|node| {
                let status = self.run(node, &["status"]);
                let text = String::from_utf8_lossy(&status.stdout).into_owned();
                let alive = text.split("FAILED NODES").next().unwrap_or_default();
                status.status.success() && alive.matches("127.0.0.1:").count() == NODES
            })
        });
    }

    #[track_caller]
    fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let start = Instant::now();
        while !is_so() {
            assert!(
                start.elapsed() < PATIENCE,
                "not so in {PATIENCE:?}: {what}; {}",
                fs::read_to_string(self.dir(0).join("log")).unwrap_or_default()
            );
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// The port at which a node speaks S3.
    fn port(&self, node: usize) -> u16 {
        self.ports[NODES + node]
    }

    fn url(&self, node: usize) -> String {
        format!("http://127.0.0.1:{}", self.port(node))
    }

    /// Stands before node 0, and kills another once `counts` was so for `nth` requests.
    fn killing(
        self: &Arc<Self>,
        node: usize,
        nth: u64,
        counts: fn(&Request) -> bool,
    ) -> (Proxy, Arc<AtomicU64>) {
        let (cluster, seen) = (Arc::clone(self), Arc::new(AtomicU64::new(0)));
        let count = Arc::clone(&seen);
        let proxy = Proxy::new(self.port(0), move |request| {
            if counts(request) && count.fetch_add(1, Ordering::SeqCst) + 1 == nth {
                cluster.kill(node);
            }
            Fault::None
        });
        (proxy, seen)
    }
}

/// Runs dtar on a host, against what listens at `endpoint`.
fn dtar(host: &Sandbox, endpoint: &str, arguments: &[&str]) -> Run {
    let mut command = host.command(arguments);
    command
        .env("AWS_ACCESS_KEY_ID", KEY)
        .env("AWS_SECRET_ACCESS_KEY", SECRET)
        .env("AWS_ENDPOINT_URL", endpoint)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let _watchdog = Watchdog::with_limit(&child, Duration::from_secs(180));
    finish(child)
}

#[test]
fn a_cluster_that_loses_nodes_midway_keeps_what_is_pushed_and_gives_it_back() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let cluster = Arc::new(cluster);
    let (one, stream) = (Sandbox::new(), stream(0, 12));
    let index = one.path().join("index");
    let archive = ["--quiet", "--brick-size", "10M"];
    one.archive_to(archive, stream.as_slice(), &index).exits(0);
    let index = index.to_str().unwrap();
    let push = ["push", URL, "--json", "--part-size", "5M"];

    // A node goes in the middle of the push.
    let (proxy, parts) = cluster.killing(2, 4, Request::is_part);
    let pushed = summary(&dtar(&one, &proxy.url(), &push).exits(0));
    let parts = parts.load(Ordering::SeqCst);
    assert!(parts > 4, "{parts}");
    let bytes = pushed["bytes"].as_u64().unwrap();
    drop(proxy);
    cluster.launch(2);
    cluster.wait_for_all();

    // All is there, by length and checksum, whichever node is asked.
    let check = [push.as_slice(), &["--check", "--delete-local"]].concat();
    let checked = summary(&dtar(&one, &cluster.url(2), &check).exits(0));
    assert_eq!(
        (&checked["files"], &checked["kept"]),
        (&0.into(), &0.into())
    );
    let deleted = checked["deleted"].as_u64().unwrap();
    assert!(deleted >= 4, "{checked}");

    // Another host restores, and another node goes in the middle of that.
    let two = Sandbox::without_key();
    fs::copy(one.key(), two.key()).unwrap();
    let (proxy, reads) = cluster.killing(1, 2, Request::reads_brick);
    let restore = ["restore", "--store", URL, index];
    let restored = dtar(&two, &proxy.url(), &restore).exits(0);
    assert!(restored.stdout == stream, "not what was archived");
    let reads = reads.load(Ordering::SeqCst);
    assert!(reads > 2, "{reads}");
    drop(proxy);

    // With a node less, the rest works as well.
    dtar(&two, &cluster.url(0), &["sync", URL]).exits(0);
    dtar(&two, &cluster.url(2), &["pull", URL, "@latest"]).exits(0);
    let restored = dtar(&two, &cluster.url(0), &["restore", "@latest"]).exits(0);
    assert!(restored.stdout == stream, "not what was archived");
    println!(
        "{bytes} bytes pushed in {parts} parts, a node killed at the 4th; {deleted} bricks deleted \
         here; restored with {reads} reads, a node killed at the 2nd"
    );
}

#[test]
fn a_push_whose_node_goes_is_taken_up_at_another() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let cluster = Arc::new(cluster);
    let (host, stream) = (Sandbox::new(), stream(20, 6));
    let index = host.path().join("index");
    let archive = ["--quiet", "--brick-size", "10M"];
    host.archive_to(archive, stream.as_slice(), &index).exits(0);
    let push = ["push", URL, "--json", "--part-size", "5M", "--jobs", "1"];
    let (proxy, _) = cluster.killing(0, 4, Request::is_part);
    dtar(&host, &proxy.url(), &push)
        .exits(1)
        .says(&["connection", "run this again"]);
    let pushed = summary(&dtar(&host, &cluster.url(1), &push).exits(0));
    assert!(pushed["taken_up"].as_u64() >= Some(5 << 20), "{pushed}");
    let check = [push.as_slice(), &["--check", "--delete-local"]].concat();
    let checked = summary(&dtar(&host, &cluster.url(2), &check).exits(0));
    assert_eq!(
        (&checked["files"], &checked["kept"]),
        (&0.into(), &0.into())
    );
    let restore = ["restore", "--store", URL, index.to_str().unwrap()];
    let restored = dtar(&host, &cluster.url(2), &restore).exits(0);
    assert!(restored.stdout == stream, "not what was archived");
    println!("taken up at another node: {}", pushed["taken_up"]);
}
