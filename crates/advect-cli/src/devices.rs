//! `advect devices`: what this build can compute on, on this machine.

use crate::say::Say;
use advect::device::{Listed, absent, compiled, list, missing};
use serde_json::json;

pub(crate) fn run(say: Say) {
    for Listed { name, part, kind, memory, dtypes, .. } in list() {
        let size = memory.map_or_else(|| "memory unknown".to_owned(), gibibytes);
        say.event(
            &format!("{name:8} {:9} {size:>14}  {:20}  {part}", kind.to_string(), dtypes.join(" ")),
            json!({"name": name, "kind": kind.to_string(), "memory": memory, "dtypes": dtypes, "part": part}),
        );
    }
    for name in absent() {
        say.event(
            &format!("{name:8} compiled in, but this machine has no card or driver for it"),
            json!({"name": name, "compiled": true, "kind": null}),
        );
    }
    if !missing().is_empty() {
        say.event(
            &format!("not compiled in: {} (build with --features NAME)", missing().join(", ")),
            json!({"compiled": compiled(), "missing": missing()}),
        );
    }
}

fn gibibytes(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30))
}
