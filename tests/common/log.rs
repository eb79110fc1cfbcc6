//! What a random test did, told only if it fails; and its closing line.

use std::io::Write;
use std::thread;
use std::time::Instant;

/// The steps of a random test. If it panics they are printed with the seed.
pub struct Log {
    name: String,
    seed: u64,
    start: Instant,
    steps: Vec<String>,
}

impl Log {
    /// The log of a test that follows from `seed`.
    pub fn new(name: impl Into<String>, seed: u64) -> Self {
        Self {
            name: name.into(),
            seed,
            start: Instant::now(),
            steps: Vec::new(),
        }
    }

    /// Notes a step before it is done.
    pub fn step(&mut self, text: impl Into<String>) {
        self.steps.push(text.into());
    }

    /// Adds to the last step what came of it.
    pub fn outcome(&mut self, text: &str) {
        if let Some(step) = self.steps.last_mut() {
            *step = format!("{step}: {text}");
        }
    }

    /// How many steps there were.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Seconds since it began.
    pub fn seconds(&self) -> u64 {
        self.start.elapsed().as_secs()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if thread::panicking() {
            let mut text = format!("{}, DTAR_SEED={}, failed at step:\n", self.name, self.seed);
            for (number, step) in self.steps.iter().enumerate() {
                text = format!("{text}{number:>5} {step}\n");
            }
            tell(text.trim_end());
        }
    }
}

/// Prints a line that is seen though the test succeeds.
pub fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// A number from the environment.
pub fn setting(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{variable}={text} is no number")),
        Err(_) => default,
    }
}
