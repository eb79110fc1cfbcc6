//! The store, its users, and the commands they run.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use crate::common::kill::{End, Measure, killed, measured};
use crate::common::log::Log;
use crate::common::sandbox::{Run, Sandbox};
use crate::common::source::Random;
use crate::common::stored::{Stored, roots};
use crate::common::tree::Tree;
use crate::model::{Archive, Model};
use crate::tally::Tally;

/// Hosts that archive into the store, each with a catalog of its own.
pub const HOSTS: u64 = 3;

/// All there is.
pub struct World {
    pub sandbox: Sandbox,
    pub random: Random,
    pub trees: Vec<Tree>,
    pub model: Model,
    pub tally: Tally,
    pub log: Log,
    /// Parity sets cover all bricks that were there then, and nothing has gone since.
    pub parity: Option<Vec<PathBuf>>,
    measures: BTreeMap<&'static str, Measure>,
    made: u64,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let sandbox = Sandbox::new().kept_on_failure();
        sandbox.run(["init"]).exits(0);
        sandbox.run(["key", "put", "put-key"]).exits(0);
        let mut random = Random(seed);
        let trees = (0..HOSTS).map(|_| Tree::new(random.next(), 8, 2 << 20));
        Self {
            trees: trees.collect(),
            random,
            sandbox,
            model: Model::default(),
            tally: Tally::default(),
            log: Log::new("soak", seed),
            parity: None,
            measures: BTreeMap::new(),
            made: 0,
        }
    }

    /// One of so many.
    pub fn pick(&mut self, count: usize) -> usize {
        usize::try_from(self.random.below(count as u64)).unwrap()
    }

    /// True once in so many times.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.random.below(times) == 0
    }

    /// A command of one of the hosts, sometimes with a put key if that is enough.
    pub fn command(&mut self, host: u64, arguments: &[&str], put_key_will_do: bool) -> Command {
        let mut command = self.sandbox.command(arguments);
        let catalog = format!("catalog-{host}");
        command
            .env("DTAR_CATALOG", self.sandbox.path().join(catalog))
            .stdout(Stdio::null());
        if put_key_will_do && self.once_in(3) {
            command.env("DTAR_KEY", self.sandbox.path().join("put-key"));
        }
        command
    }

    /// Runs a command, named `what`, to its end.
    pub fn run(&mut self, what: &'static str, command: &mut Command) -> Run {
        self.log.step(what);
        let (run, measure) = measured(command, &self.sandbox.path().join("calls"));
        self.log.outcome(&format!("{:?}", run.code));
        self.tally.did(what);
        self.measures.insert(what, measure);
        run
    }

    /// Runs a command that is killed; nothing, if it was.
    pub fn kill(&mut self, what: &'static str, command: &mut Command) -> Option<Run> {
        let measure = self.measures.get(what).copied().unwrap_or_default();
        let moment = measure.draw_call(&mut self.random);
        self.log.step(format!("{what}, to be killed, {moment:?}"));
        match killed(command, moment) {
            End::Killed => {
                self.log.outcome("killed");
                self.tally.did("killed");
                None
            }
            End::Done(run) => {
                self.log.outcome(&format!("{:?}", run.code));
                self.tally.did(what);
                Some(run)
            }
        }
    }

    /// The command that archives `stream` from a host, and where its index goes.
    pub fn archiver(
        &mut self,
        host: u64,
        stream: &[u8],
        options: &[&str],
    ) -> (Command, String, PathBuf) {
        self.made += 1;
        let label = format!("run-{}", self.made);
        let index = self.sandbox.path().join(format!("{label}.tar"));
        let input = self.sandbox.path().join("stream");
        fs::write(&input, stream).unwrap();
        let mut command = self.command(host, &["-q", "--label", &label], true);
        command
            .args(options)
            .stdin(File::open(input).unwrap())
            .stdout(File::create(&index).unwrap());
        (command, label, index)
    }

    /// Archives, which must go well; its number among the archives.
    pub fn archive(&mut self, host: u64, stream: Arc<Vec<u8>>, options: &[&str]) -> usize {
        let before = roots(&self.sandbox.store());
        let (mut command, label, index) = self.archiver(host, &stream, options);
        self.run("archive", &mut command).exits(0);
        let now = roots(&self.sandbox.store());
        let run = now.difference(&before).next().unwrap().clone();
        self.finish(label, index, run, stream)
    }

    /// Takes note of a run that went well.
    pub fn finish(
        &mut self,
        label: String,
        index: PathBuf,
        run: String,
        stream: Arc<Vec<u8>>,
    ) -> usize {
        let store = self.sandbox.store();
        self.model.learn(&store);
        let root = Stored::open(&store).root(&run).unwrap();
        let needs = root.bricks.iter();
        self.model.archives.push(Archive {
            label,
            index,
            run,
            stream,
            needs: needs
                .map(|(name, frames)| (*name, frames.iter().collect()))
                .collect(),
            has_snapshot: root.snapshot.is_some(),
        });
        self.model.archives.len() - 1
    }

    /// Forgets a run; it need not be there any more.
    pub fn forget_run(&mut self, run: &str) {
        let mut command = self.command(0, &["forget", &format!("@{run}")], true);
        self.run("forget", &mut command).exits(0);
    }

    /// Forgets one of the archives.
    pub fn forget(&mut self, number: usize) {
        let archive = self.model.archives.remove(number);
        let _ = fs::remove_file(&archive.index);
        self.model
            .damages
            .retain(|damage| !damage.path.to_str().unwrap().contains(&archive.run));
        if roots(&self.sandbox.store()).contains(&archive.run)
            || self.snapshot(&archive.run).exists()
        {
            self.forget_run(&archive.run);
        }
    }

    fn snapshot(&self, run: &str) -> PathBuf {
        let file = format!("snapshots/{run}.snap");
        self.sandbox.store().join(file)
    }
}
