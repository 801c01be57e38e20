//! The same numbers on every device.
//!
//! One suite for whatever `ADVECT_TEST_DEVICE` names (`flex`, the default, `wgpu`, `cuda`, `cuda:1`, ..): every operator,
//! backbone, path, loss, solver and the training step in f32, against an independent computation in f64 on the
//! processor, with a tolerance for each. It prints the largest error of each case as a table and writes it to
//! `ADVECT_PARITY_TABLE` if that is set. On CUDA f32 products may be TF32: cases that have them have wider tolerances there. Names on the command line choose cases by part of their name.
//!
//! ```text
//! ADVECT_TEST_DEVICE=wgpu cargo test --profile gpu -p advect --features wgpu --test parity
//! ```
//!
//! With the feature `remote`, the device `remote` is this machine's Flex behind a server of Burn's: every operation goes through a
//! socket.
//!
//! One program, one thread and a main of its own: on a card each shape costs the compilation of kernels, and the
//! streams of several threads would only wait for each other.
#![allow(clippy::expect_used, clippy::print_stderr, clippy::print_stdout, reason = "a test program's helpers")]

mod backbones;
mod burn_issues;
mod operators;
mod paths;
mod solves;
mod suite;
mod training;

use std::process::ExitCode;
use suite::Suite;

fn main() -> ExitCode {
    // What cargo and its test runners pass; the rest are names.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|a| a == "--list") {
        return ExitCode::SUCCESS;
    }
    let wanted = arguments.into_iter().filter(|a| !a.starts_with('-')).collect();
    let name = std::env::var("ADVECT_TEST_DEVICE").unwrap_or_else(|_| "flex".to_owned());
    #[cfg(feature = "remote")]
    let name = if name == "remote" { serve() } else { name };
    let chosen = match advect::device::choose(Some(&name)) {
        Ok(chosen) => chosen,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let mut suite = Suite::new(chosen.device, wanted, chosen.name.starts_with("cuda"));
    operators::run(&mut suite);
    backbones::run(&mut suite);
    paths::run(&mut suite);
    solves::run(&mut suite);
    training::run(&mut suite);
    burn_issues::run(&mut suite);
    suite.report(&chosen.name)
}

/// Serves Flex to this machine alone, on a port that is free, and returns the address.
#[cfg(feature = "remote")]
fn serve() -> String {
    use burn::server::{RemoteServer, WebSocketTransport};

    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port of this machine");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        RemoteServer::new([burn::tensor::Device::flex()])
            .serve(WebSocketTransport::from_listener(listener))
            .expect("to serve");
    });
    format!("ws://{address}")
}
