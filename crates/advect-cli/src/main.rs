//! The `advect` program: train a generative model, sample it, look at it.

mod args;
mod autoencoder;
mod config;
mod data;
mod devices;
mod error;
mod grids;
mod import;
mod info;
mod latent;
mod model;
mod output;
mod path;
mod pictures;
mod presets;
mod sample;
mod sampler;
mod say;
mod solvers;
mod task;
mod train;

use advect::device::{Chosen, choose};
use args::{Cli, Command};
use clap::Parser;
use error::CliError;
use say::Say;
use serde_json::json;
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    advect::kernels::keep_freed_memory();
    // clap leaves with 2 on wrong usage, 0 after --help.
    let cli = Cli::parse();
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            drop(writeln!(std::io::stderr(), "error: {}", printable(&error.to_string())));
            ExitCode::from(error.exit_code())
        }
    }
}

/// Names in files of others may hold what moves a terminal's cursor or turns its text round.
fn printable(message: &str) -> String {
    let unsafe_to_print = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut text = String::new();
    for c in message.chars() {
        if unsafe_to_print(c) { text.extend(c.escape_default()) } else { text.push(c) }
    }
    text
}

fn run(cli: &Cli) -> Result<(), CliError> {
    let say = Say::new(&cli.common);
    match &cli.command {
        Command::Train(args) => train::run(args, &device(cli, say)?, say),
        Command::Sample(args) => sample::run(args, &device(cli, say)?, say),
        Command::Import(args) => import::run(args, &device(cli, say)?, say),
        Command::Info(args) => info::run(&args.path, say),
        Command::Presets => {
            for preset in presets::ALL {
                say.event(
                    &format!("{:16} {}", preset.name, preset.about),
                    json!({"name": preset.name, "about": preset.about}),
                );
            }
            Ok(())
        }
        Command::Grids => {
            grids::run(say);
            Ok(())
        }
        Command::Solvers => {
            solvers::run(say);
            Ok(())
        }
        Command::Devices => {
            devices::run(say);
            Ok(())
        }
    }
}

fn device(cli: &Cli, say: Say) -> Result<Chosen, CliError> {
    let variable = std::env::var("BURN_DEVICE").ok().filter(|v| !v.is_empty());
    let wanted = cli.common.device.clone().or(variable);
    let chosen = choose(wanted.as_deref()).map_err(CliError::usage)?;
    say.event(
        &format!("device: {} (change it with --device or BURN_DEVICE)", chosen.name),
        json!({"event": "device", "device": chosen.name}),
    );
    Ok(chosen)
}
