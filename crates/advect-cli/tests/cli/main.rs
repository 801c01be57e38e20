//! The program as a user and a script meet it: real processes, real files.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod bad_input;
mod crash;
mod grids;
mod import;
mod mnist;
mod paths;
mod sampling;
mod solvers;
mod training;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// A folder of its own with a short training run in it.
pub(crate) struct Bench {
    folder: TempDir,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_advect"));
        command
            .args(arguments.split_whitespace())
            .current_dir(self.folder.path())
            .env_remove("BURN_DEVICE")
            .env_remove("CARGO");
        command
    }

    pub(crate) fn run(&self, arguments: &str) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs, insists on success, returns what was printed.
    pub(crate) fn ok(&self, arguments: &str) -> String {
        let out = self.run(arguments);
        assert!(out.status.success(), "{arguments}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    }

    /// Runs, insists on the exit code, returns the one sentence on stderr.
    pub(crate) fn fails(&self, code: i32, arguments: &str) -> String {
        let out = self.run(arguments);
        let text = String::from_utf8(out.stderr).unwrap();
        assert_eq!(out.status.code(), Some(code), "{arguments}: {text}");
        assert!(!text.contains("panicked"), "{arguments}: {text}");
        text
    }

    pub(crate) fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }
}

/// The float32 numbers of an .npy file and its header.
pub(crate) fn npy(path: &Path) -> (Vec<f32>, String) {
    let bytes = std::fs::read(path).unwrap();
    assert_eq!(&bytes[..6], b"\x93NUMPY");
    let length = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = String::from_utf8(bytes[10..10 + length].to_vec()).unwrap();
    assert!(header.contains("'<f4'"), "{header}");
    let values = bytes[10 + length..].chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    (values, header)
}

/// Enough of a moons run to sample from: a second.
pub(crate) const MOONS: &str =
    "train --preset moons --run run --steps 20 --set train.batch=64 --set train.checkpoint_every=10";
/// A digits run of a few steps of a small network.
pub(crate) const DIGITS: &str = "train --preset digits --run run --steps 4 --set train.batch=16 \
     --set model.channels=16 --set model.blocks=1 --set model.head_channels=16 --set sample.steps=3";
