//! A crash at every moment of a save, and of the save after it: always the old or the new checkpoint, whole.

use crate::resume::{FILES, contents};
use crate::setup::{network, trained};
use advect_train::RunFolder;
use std::{fs, path::Path};

/// The bytes of two checkpoints of one run.
struct Checkpoints {
    old: [Vec<u8>; 4],
    new: [Vec<u8>; 4],
}

fn checkpoints(folder: &Path) -> Checkpoints {
    let run = RunFolder::create(&folder.join("source"), "").unwrap();
    let [old, new] = [2, 4].map(|steps| {
        let (trainer, history) = trained(steps);
        run.save(&trainer, &history).unwrap();
        contents(run.path())
    });
    Checkpoints { old, new }
}

/// A folder with the given files in their places and aside; nothing for `None`.
fn lay_out(path: &Path, places: [&[u8]; 4], aside: [Option<&[u8]>; 4]) -> RunFolder {
    fs::remove_dir_all(path).ok();
    fs::create_dir_all(path).unwrap();
    fs::write(path.join("config.toml"), "").unwrap();
    for (name, (place, aside)) in FILES.iter().zip(places.into_iter().zip(aside)) {
        fs::write(path.join(name), place).unwrap();
        if let Some(aside) = aside {
            fs::write(path.join(format!("{name}.next")), aside).unwrap();
        }
    }
    RunFolder::open(path).unwrap()
}

/// What a resume of `run` would save: every tensor, the moments and the history.
fn resumed(run: &RunFolder, scratch: &Path) -> [Vec<u8>; 4] {
    let (trainer, history) = run.resume(network(99)).unwrap();
    fs::remove_dir_all(scratch).ok();
    RunFolder::create(scratch, "").unwrap().save(&trainer, &history).unwrap();
    contents(scratch)
}

#[test]
fn before_the_state_is_renamed_the_old_checkpoint_counts() {
    let folder = tempfile::tempdir().unwrap();
    let Checkpoints { old, new } = checkpoints(folder.path());
    let places = [0, 1, 2, 3].map(|i| old[i].as_slice());
    let garbage = vec![0x5a; 100];
    let mut moments = 0;
    // File `k` is being written: those before it are whole, those after it absent or left by an earlier crash.
    for k in 0..=4 {
        for stale in [None, Some(garbage.as_slice())] {
            let length = new.get(k).map_or(0, Vec::len);
            for cut in [0, 1, 8, length / 2, length.saturating_sub(1), length] {
                let aside = [0, 1, 2, 3].map(|i| match i {
                    _ if i < k => Some(new[i].as_slice()),
                    _ if i == k => Some(&new[i][..cut]),
                    _ => stale,
                });
                let run = lay_out(&folder.path().join("crashed"), places, aside);
                assert!(resumed(&run, &folder.path().join("scratch")) == old, "file {k}, {cut} bytes of {length}");
                moments += 1;
            }
        }
    }
    assert_eq!(moments, 60);
}

#[test]
fn once_the_state_is_renamed_the_new_checkpoint_counts() {
    let folder = tempfile::tempdir().unwrap();
    let Checkpoints { old, new } = checkpoints(folder.path());
    // Any of the three renames, in any order in which they may reach the disk.
    for done in 0..8_usize {
        let is_done = |i: usize| i == 3 || done >> i & 1 == 1;
        let places = [0, 1, 2, 3].map(|i| if is_done(i) { new[i].as_slice() } else { old[i].as_slice() });
        let aside = [0, 1, 2, 3].map(|i| (!is_done(i)).then_some(new[i].as_slice()));
        let run = lay_out(&folder.path().join("crashed"), places, aside);
        assert!(resumed(&run, &folder.path().join("scratch")) == new, "renames {done:03b}");

        // The save after it fails at its last write before the rename: what lay aside was the only copy.
        let (trainer, history) = trained(5);
        fs::create_dir(folder.path().join("crashed/state.json.next")).unwrap();
        run.save(&trainer, &history).unwrap_err();
        assert!(resumed(&run, &folder.path().join("scratch")) == new, "renames {done:03b}, then a failed save");

        // And one that succeeds leaves nothing of either behind.
        fs::remove_dir(folder.path().join("crashed/state.json.next")).unwrap();
        run.save(&trainer, &history).unwrap();
        let last = resumed(&run, &folder.path().join("scratch"));
        assert!(contents(run.path()) == last && last != new);
        assert_eq!(fs::read_dir(run.path()).unwrap().count(), 5);
    }
}

/// The first checkpoint of a run: none is there before, so there is nothing to resume until it is whole.
#[test]
fn the_first_save() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let run = RunFolder::create(&path, "a").unwrap();
    let (trainer, history) = trained(1);
    fs::create_dir(path.join("state.json.next")).unwrap();
    run.save(&trainer, &history).unwrap_err();
    assert!(RunFolder::open(&path).is_err());
    fs::remove_dir(path.join("state.json.next")).unwrap();
    let run = RunFolder::create(&path, "a").unwrap();
    run.save(&trainer, &history).unwrap();
    assert!(resumed(&run, &folder.path().join("scratch")) == contents(&path));
}

/// `/dev/full` takes no byte: a disk that fills up at each file of the save in turn.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_the_last_checkpoint() {
    use advect_train::TrainError;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let run = RunFolder::create(&path, "").unwrap();
    let (trainer, history) = trained(2);
    run.save(&trainer, &history).unwrap();
    let old = contents(&path);
    let (trainer, history) = trained(3);
    for name in FILES {
        let aside = path.join(format!("{name}.next"));
        fs::remove_file(&aside).ok();
        std::os::unix::fs::symlink("/dev/full", &aside).unwrap();
        let error = run.save(&trainer, &history).unwrap_err();
        assert!(matches!(&error, TrainError::File { action: "write", path, .. } if *path == aside), "{error:?}");
        assert!(error.to_string().contains("No space left"), "{error}");
        assert!(contents(&path) == old && resumed(&run, &folder.path().join("scratch")) == old, "{name}");
        fs::remove_file(&aside).unwrap();
    }
    run.save(&trainer, &history).unwrap();
    assert!(resumed(&run, &folder.path().join("scratch")) == contents(&path));
    assert_eq!(run.state().unwrap().step, 3);
}
