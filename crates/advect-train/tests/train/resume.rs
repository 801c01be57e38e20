//! Runs on disk: what a folder holds, what it refuses, and that a break leaves no trace in the result.

use crate::setup::{advance, batch, network, objective, plan, trained};
use advect_nn::MlpConfig;
use advect_train::{FORMAT, History, Record, RunFolder, TrainError, Trainer, Weights, Which};
use std::{fs, path::Path};

pub(crate) const FILES: [&str; 4] = ["model.safetensors", "ema.safetensors", "optimizer.safetensors", "state.json"];

pub(crate) fn contents(folder: &Path) -> [Vec<u8>; 4] {
    FILES.map(|name| fs::read(folder.join(name)).unwrap())
}

#[test]
fn an_interrupted_run_ends_with_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    let (trainer, mut whole) = trained(7);
    // The same entries that the interrupted run makes at its break.
    whole.validation.insert(0, Record { step: 3, loss: 1.0 / 3.0 });
    RunFolder::create(&one, "").unwrap().save(&trainer, &whole).unwrap();

    let run = RunFolder::create(&two, "").unwrap();
    let (trainer, history) = trained(3);
    run.save(&trainer, &history).unwrap();
    drop((run, trainer, history));
    let run = RunFolder::open(&two).unwrap();
    // Resumed into a network that starts elsewhere: nothing of it may survive.
    let (mut trainer, mut history) = run.resume(network(99)).unwrap();
    assert_eq!(trainer.step, 3);
    advance(&mut trainer, &mut history, 7);
    run.save(&trainer, &history).unwrap();
    assert_eq!(history, whole);
    for (name, (a, b)) in FILES.iter().zip(contents(&one).into_iter().zip(contents(&two))) {
        assert!(a == b, "{name} differs");
    }
    // And the files are not all alike for another reason.
    assert_ne!(contents(&one)[0], Weights::of(&trained(6).0.model).to_bytes().unwrap());
}

#[test]
fn a_folder_holds_what_was_saved() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runs/deep/inside");
    let run = RunFolder::create(&path, "seed = 1\n").unwrap();
    assert_eq!((run.path(), run.config().unwrap().as_str()), (path.as_path(), "seed = 1\n"));
    let (trainer, history) = trained(2);
    run.save(&trainer, &history).unwrap();
    let mut names: Vec<_> = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["config.toml", "ema.safetensors", "model.safetensors", "optimizer.safetensors", "state.json"]);

    let state = run.state().unwrap();
    assert_eq!((state.format, state.step), (FORMAT, 2));
    assert_eq!(state.parameters, MlpConfig::new(2, 16, 3).with_classes(Some(3)).num_params());
    let model = run.load(network(9), Which::Model).unwrap();
    let average = run.load(network(9), Which::Ema).unwrap();
    assert_eq!(Weights::of(&model), Weights::of(&trainer.model));
    assert_eq!(Weights::of(&average), Weights::of(&trainer.averaged()));
    assert_ne!(Weights::of(&average), Weights::of(&model));
    let stored = run.weights_of(Which::Ema).unwrap();
    assert_eq!((stored.tensors, stored.metadata.as_str()), (Weights::of(&average).tensors, "2"));
    assert_eq!(run.resume(network(9)).unwrap().1, history);

    run.write_config("seed = 2\n").unwrap();
    assert_eq!(RunFolder::open(&path).unwrap().config().unwrap(), "seed = 2\n");
    // Saving once more changes no byte.
    let before = contents(&path);
    run.save(&trainer, &history).unwrap();
    assert_eq!(contents(&path), before);
    // An empty history is a history.
    run.save(&trainer, &History::default()).unwrap();
    assert_eq!(run.resume(network(9)).unwrap().1, History::default());
}

#[test]
fn a_run_is_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    assert!(matches!(RunFolder::open(path), Err(TrainError::NoRun { .. })));
    let run = RunFolder::create(path, "a = 1").unwrap();
    // Killed before its first checkpoint: the same run may start again, another may not.
    assert!(matches!(RunFolder::open(path), Err(TrainError::NoRun { .. })));
    assert!(RunFolder::create(path, "a = 1").is_ok());
    assert!(matches!(RunFolder::create(path, "a = 2"), Err(TrainError::Exists { .. })));
    assert_eq!(run.config().unwrap(), "a = 1");
    run.save(&Trainer::new(network(1)), &History::default()).unwrap();
    let before = contents(path);
    for config in ["a = 1", "a = 2"] {
        let error = RunFolder::create(path, config).unwrap_err();
        assert!(matches!(&error, TrainError::Exists { path: named } if named == path), "{error:?}");
        assert!(error.to_string().contains("--resume"), "{error}");
    }
    assert_eq!(contents(path), before);
    // Nor through a folder that is not there yet, by which the run cannot be seen.
    let name = path.file_name().unwrap();
    let error = RunFolder::create(&path.join("new/..").join("..").join(name), "a = 1").unwrap_err();
    assert!(matches!(error, TrainError::Exists { .. }), "{error:?}");
    assert_eq!(contents(path), before);
    // Asked beforehand.
    assert!(matches!(RunFolder::vacant(path, None), Err(TrainError::Exists { .. })));
    RunFolder::create(&path.join("begun"), "a = 1").unwrap();
    assert!(matches!(RunFolder::vacant(&path.join("begun"), Some("a = 2")), Err(TrainError::Exists { .. })));
    assert!(RunFolder::vacant(&path.join("begun"), None).is_ok());
    // A file in the way.
    let file = path.join("state.json");
    assert!(matches!(RunFolder::create(&file, ""), Err(TrainError::File { .. })));
}

#[test]
fn a_state_that_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let run = RunFolder::create(folder.path(), "").unwrap();
    let (trainer, history) = trained(1);
    run.save(&trainer, &history).unwrap();
    let path = folder.path().join("state.json");
    let good = fs::read_to_string(&path).unwrap();

    // A newer format may have other fields; it is named all the same.
    fs::write(&path, format!("{{\"format\": {}, \"steps\": {{}}}}", FORMAT + 1)).unwrap();
    for result in [run.state().map(drop), run.resume(network(1)).map(drop), run.load(network(1), Which::Ema).map(drop)]
    {
        let error = result.unwrap_err();
        assert!(matches!(error, TrainError::Newer { found, known: FORMAT, .. } if found == FORMAT + 1), "{error:?}");
        assert!(error.to_string().contains("update advect"), "{error}");
    }
    // Nor is it written over.
    assert!(matches!(run.save(&trainer, &history), Err(TrainError::Newer { .. })));

    let cut = good[..good.len() / 2].to_owned();
    for text in [String::new(), "{".into(), "[]".into(), "{\"format\": 1}".into(), "\u{0}\u{1}".into(), cut] {
        fs::write(&path, text).unwrap();
        let error = run.resume(network(1)).map(drop).unwrap_err();
        assert!(matches!(&error, TrainError::State { path: named, .. } if *named == path), "{error:?}");
        assert!(error.to_string().contains("state.json"), "{error}");
    }
    fs::write(&path, [0xff, 0xfe]).unwrap();
    assert!(matches!(run.state(), Err(TrainError::File { .. } | TrainError::State { .. })));
    // A trainer that is still running can mend it.
    run.save(&trainer, &history).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), good);
}

#[test]
fn files_that_do_not_belong_together() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (folder.path().join("old"), folder.path().join("new"));
    for (path, steps) in [(&old, 1), (&new, 2)] {
        let (trainer, history) = trained(steps);
        RunFolder::create(path, "").unwrap().save(&trainer, &history).unwrap();
    }
    let run = RunFolder::open(&new).unwrap();
    for name in &FILES[..3] {
        let (place, whole) = (new.join(name), fs::read(new.join(name)).unwrap());
        let fails = |content: &[u8]| {
            fs::write(&place, content).unwrap();
            run.resume(network(1)).map(drop).unwrap_err()
        };
        let error = fails(&fs::read(old.join(name)).unwrap());
        assert!(matches!(&error, TrainError::Step { path, found: Some(1), wanted: 2 } if *path == place), "{error:?}");
        // A file aside is only taken if it is of the right step.
        let beside = new.join(format!("{name}.next"));
        fs::copy(old.join(name), &beside).unwrap();
        let error = fails(&whole[..whole.len() - 1]);
        assert!(matches!(&error, TrainError::Weights { path, .. } if *path == place), "{error:?}");
        fs::remove_file(&place).unwrap();
        let error = run.resume(network(1)).map(drop).unwrap_err();
        assert!(matches!(&error, TrainError::File { path, .. } if *path == place), "{error:?}");
        fs::remove_file(&beside).unwrap();
        fs::write(&place, whole).unwrap();
        run.resume(network(1)).unwrap();
    }
    // The files of another network.
    let other = MlpConfig::new(2, 8, 3).with_classes(Some(3)).init(&crate::setup::device()).unwrap();
    let error = run.resume(other).map(drop).unwrap_err();
    assert!(matches!(&error, TrainError::Mismatch { path, .. } if *path == new.join(FILES[0])), "{error:?}");
    // The optimizer's memory of another network, under the right model.
    let mut memory = Weights::load(&new.join(FILES[2])).unwrap();
    let moment = memory.tensors.remove("second.input.weight").unwrap();
    memory.tensors.insert("second.input.wait".to_owned(), moment);
    memory.save(&new.join(FILES[2])).unwrap();
    let TrainError::Mismatch { missing, unexpected, .. } = run.resume(network(1)).map(drop).unwrap_err() else {
        panic!()
    };
    assert_eq!((missing, unexpected), (vec!["second.input.weight".to_owned()], vec!["second.input.wait".to_owned()]));
}

/// The moments are part of a checkpoint: a resume that lost them would go elsewhere.
#[test]
fn the_moments_matter() {
    let (mut whole, _) = trained(3);
    let mut fresh = Trainer::new(whole.model.clone());
    fresh.step = 3;
    for trainer in [&mut whole, &mut fresh] {
        trainer.step(&objective(), &batch(3), &plan(4)).unwrap();
    }
    assert_ne!(Weights::of(&whole.model), Weights::of(&fresh.model));
}
