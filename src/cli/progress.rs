//! How far a run has come: a bar on a terminal, or JSON lines.
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "for people: a few digits are shown"
)]

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::say::Say;
use super::size;
use dtar::archive::Monitor;

/// Shows a monitor's counters until it is dropped.
pub struct Progress {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

const BAR_INTERVAL: Duration = Duration::from_millis(200);
const JSON_INTERVAL: Duration = Duration::from_secs(1);

impl Progress {
    /// Starts to show `monitor`; `verb` says what the run does.
    pub fn start(say: Say, monitor: &Arc<Monitor>, verb: &'static str) -> Self {
        let monitor = Arc::clone(monitor);
        let (end, ended) = mpsc::channel();
        let show: Box<dyn FnMut(&Monitor) + Send> = if say.shows_progress() {
            bar(verb)
        } else if say.tells_progress() {
            json_lines(say)
        } else {
            return Self {
                end: None,
                thread: None,
            };
        };
        let interval = if say.is_json() {
            JSON_INTERVAL
        } else {
            BAR_INTERVAL
        };
        let thread = thread::Builder::new().spawn(move || {
            let mut show = show;
            while ended.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                show(&monitor);
            }
        });
        Self {
            end: Some(end),
            // Without a thread to show it there is no progress to be seen; the run goes on.
            thread: thread.ok(),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Clears the bar when it goes out of use.
struct Bar(ProgressBar);

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

fn bar(verb: &'static str) -> Box<dyn FnMut(&Monitor) + Send> {
    let bar = Bar(ProgressBar::new_spinner());
    let start = Instant::now();
    Box::new(move |monitor| {
        let done = monitor.stream.load(Ordering::Relaxed);
        let total = monitor.total.load(Ordering::Relaxed);
        let stored = monitor.stored.load(Ordering::Relaxed);
        if total > 0 && bar.0.length() != Some(total) {
            bar.0.set_length(total);
            if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_bar} {percent}% {msg}")
            {
                bar.0.set_style(style);
            }
        }
        bar.0.set_position(done);
        let speed = speed(done, start.elapsed());
        let mut message = format!("{verb} {}, {}/s", size::show(done), size::show(speed));
        let frames = monitor.frames.load(Ordering::Relaxed);
        if frames > 0 {
            message = format!("{message}, {frames} frames, {}", size::show(stored));
        } else if stored > 0 {
            message = format!("{message}, {} stored", size::show(stored));
        }
        bar.0.set_message(message);
        bar.0.tick();
    })
}

fn json_lines(say: Say) -> Box<dyn FnMut(&Monitor) + Send> {
    Box::new(move |monitor| {
        let mut event = json!({
            "type": "progress",
            "bytes": monitor.stream.load(Ordering::Relaxed),
            "total": Some(monitor.total.load(Ordering::Relaxed)).filter(|total| *total > 0),
            "stored": monitor.stored.load(Ordering::Relaxed),
        });
        let frames = monitor.frames.load(Ordering::Relaxed);
        if frames > 0 {
            event["frames"] = json!(frames);
        }
        say.event(&event);
    })
}

/// Bytes a second.
pub fn speed(bytes: u64, time: Duration) -> u64 {
    (bytes as f64 / time.as_secs_f64().max(0.001)) as u64
}
