//! What the program prints: text for people, JSON lines for scripts, nothing when quiet; a progress bar on a terminal.

use crate::args::Common;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use std::io::{IsTerminal, Write, stderr, stdout};
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Say {
    Text,
    Json,
    Nothing,
}

impl Say {
    pub(crate) fn new(common: &Common) -> Self {
        match (common.quiet, common.json) {
            (true, _) => Self::Nothing,
            (_, true) => Self::Json,
            _ => Self::Text,
        }
    }

    /// One event: a line of text, or an object. A reader that went away is no error.
    pub(crate) fn event(self, text: &str, json: Value) {
        let line = match self {
            Self::Text => text.to_owned(),
            Self::Json => json.to_string(),
            Self::Nothing => return,
        };
        drop(writeln!(stdout(), "{line}"));
    }

    /// A bar on a terminal; without one, nothing.
    pub(crate) fn bar(self, length: u64, template: &str) -> ProgressBar {
        if self != Self::Text || !stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::new(length);
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }
}

/// How the user calls this program: through cargo from a checkout, or by its name.
pub(crate) fn program() -> &'static str {
    if std::env::var_os("CARGO").is_some() { "cargo run --release --" } else { "advect" }
}

/// `1 min 5 s`.
pub(crate) fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..=9 => format!("{seconds:.1} s"),
        10..=119 => format!("{whole} s"),
        120..=7199 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}
