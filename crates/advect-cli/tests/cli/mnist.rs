//! Models of MNIST, on a folder of idx files made here: the transformer, the autoencoder and what stands on it.

use crate::{Bench, npy};
use std::fs;

/// Sixty images in `mnist`.
fn folder(bench: &Bench) {
    images(bench, "mnist", 60, 255);
}

/// Images of a bar at a place that says the class, in files as MNIST has them.
fn images(bench: &Bench, name: &str, count: u8, ink: u8) {
    let side = 28_u8;
    let header = |sizes: &[u8]| -> Vec<u8> {
        let mut bytes = vec![0, 0, 8, sizes.len() as u8];
        bytes.extend(sizes.iter().flat_map(|&size| [0, 0, 0, size]));
        bytes
    };
    let mut images = header(&[count, side, side]);
    for i in 0..count {
        let row = |y: u8| vec![if y / 2 == i % 10 + 2 { ink } else { 0 }; usize::from(side)];
        images.extend((0..side).flat_map(row));
    }
    let mut labels = header(&[count]);
    labels.extend((0..count).map(|i| i % 10));
    fs::create_dir_all(bench.path(name)).unwrap();
    fs::write(bench.path(name).join("train-images-idx3-ubyte"), images).unwrap();
    fs::write(bench.path(name).join("train-labels-idx1-ubyte"), labels).unwrap();
}

const DIT: &str = "train --preset mnist-dit --run run --steps 2 --set train.batch=4 --set model.depth=1 --set model.width=32 \
                   --set model.heads=2 --set data.side=16 --set model.size=[16,16] --set sample.steps=1";
const AUTOENCODER: &str =
    "train --preset mnist-autoencoder --run ae --set train.batch=4 --set model.channels=8 --data mnist";
const LATENT: &str = "train --preset mnist-latent --run run --steps 2 --set train.batch=4 --set model.depth=1 \
                      --set model.width=32 --set model.heads=2 --set sample.steps=1 --data mnist";

#[test]
fn a_transformer_trains_on_a_folder_and_samples_in_shades_of_ink() {
    let bench = Bench::new();
    folder(&bench);
    let said = bench.fails(2, DIT);
    assert!(said.contains("--data FOLDER"), "{said}");
    assert!(!bench.path("run").exists(), "a run that cannot start leaves nothing");
    let said = bench.fails(2, &format!("{DIT} --data nowhere"));
    assert!(said.contains("nowhere"), "{said}");

    let said = bench.ok(&format!("{DIT} --data mnist"));
    assert!(said.contains("54 images to train on, 6 held out"), "{said}");
    // One in ten held out, and said which.
    let held_out: Vec<usize> = serde_json::from_str(&bench.text("run/held_out.json")).unwrap();
    assert_eq!(held_out.len(), 6);
    assert!(held_out.is_sorted() && held_out.iter().all(|&i| i < 60), "{held_out:?}");
    // The folder holds from wherever the run is resumed.
    let config: toml::Table = bench.text("run/config.toml").parse().unwrap();
    let place = config["data"]["folder"].as_str().unwrap();
    assert_eq!(fs::canonicalize(place).unwrap(), fs::canonicalize(bench.path("mnist")).unwrap());
    bench.ok("train --run run --resume --steps 3");
    bench.ok("sample run --count 10 --steps 1 --solver euler --out s.npy");
    let (values, header) = npy(&bench.path("s.npy"));
    assert!(header.contains("(10, 1, 16, 16"), "{header}");
    // An untrained network stays near the noise: about 0.1305 +- 0.2891 of full ink, in shades of 0 to 255.
    let mean = values.iter().sum::<f32>() / values.len() as f32;
    let deviation = (values.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / values.len() as f32).sqrt();
    assert!((mean - 33.3).abs() < 6.0 && (deviation - 73.7).abs() < 6.0, "{mean} {deviation}");
}

#[test]
fn an_autoencoder_carries_a_latent_model() {
    let bench = Bench::new();
    folder(&bench);
    let said = bench.ok(&format!("{AUTOENCODER} --steps 30"));
    assert!(said.contains("reconstructions.png") && said.contains("--preset mnist-latent"), "{said}");
    let config: toml::Table = bench.text("ae/config.toml").parse().unwrap();
    let scale = config["model"]["scale"].as_float().unwrap();
    assert!(scale != 1.0 && scale > 0.0, "the latents were measured: {scale}");
    assert!(bench.fails(2, "sample ae --out s.png").contains("is an autoencoder"));

    // A kill between the last step and the measuring of the latents: that is made up for.
    let measured = bench.text("ae/config.toml");
    let mut killed: toml::Table = measured.parse().unwrap();
    killed["model"]["scale"] = toml::Value::Float(1.0);
    assert_eq!(killed["train"].as_table_mut().unwrap().remove("latents_measured"), Some(toml::Value::Boolean(true)));
    fs::write(bench.path("ae/config.toml"), toml::to_string(&killed).unwrap()).unwrap();
    assert!(bench.ok("info ae").contains("unfinished"));

    let trained = bench.bytes("ae/model.safetensors");
    let latent = format!("{LATENT} --set latent.autoencoder=ae");
    let said = bench.ok(&latent);
    assert!(!bench.path("run/ae").exists() && bench.bytes("ae/model.safetensors") == trained, "not trained again");
    assert_eq!(bench.text("ae/config.toml").parse::<toml::Table>().unwrap(), measured.parse::<toml::Table>().unwrap());
    assert!(said.contains("latents.safetensors: 60 latents of 4x7x7"), "{said}");
    // What the model sees has mean 0 and deviation 1.
    let bytes = bench.bytes("run/latents.safetensors");
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let tensor = file.tensor("latents").unwrap();
    assert_eq!(tensor.shape(), [60, 4, 7, 7]);
    let latents: Vec<f64> =
        tensor.data().chunks_exact(4).map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap()))).collect();
    let mean = latents.iter().sum::<f64>() / latents.len() as f64;
    let deviation = (latents.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / latents.len() as f64).sqrt();
    assert!(mean.abs() < 1e-3 && (deviation - 1.0).abs() < 1e-3, "{mean} {deviation}");

    // Samples are images again; the latents are not computed twice.
    bench.ok("sample run --count 5 --steps 1 --out s.npy");
    assert!(npy(&bench.path("s.npy")).1.contains("(5, 1, 28, 28"));
    let before = fs::metadata(bench.path("run/latents.safetensors")).unwrap().modified().unwrap();
    fs::rename(bench.path("mnist"), bench.path("moved")).unwrap();
    let said = bench.fails(2, "train --run run --resume --steps 3");
    assert!(said.contains("mnist") && said.contains("--data"), "{said}");
    bench.ok("train --run run --resume --steps 3 --data moved");
    assert_eq!(fs::metadata(bench.path("run/latents.safetensors")).unwrap().modified().unwrap(), before);
    fs::rename(bench.path("moved"), bench.path("mnist")).unwrap();
    // Unless the images are others.
    images(&bench, "mnist", 60, 200);
    let said = bench.ok("train --run run --resume --steps 4 --data mnist");
    assert!(said.contains("latents.safetensors: 60 latents"), "{said}");

    // Each of these is refused before any work: nothing new appears.
    let other = latent.replace("--run run", "--run other");
    for (code, arguments, reason) in [
        (2, format!("{other} --set data.held_out=5"), "other data or another split"),
        (2, format!("{other} --seed 1"), "other data or another split"),
        (2, other.replace("autoencoder=ae", "autoencoder=nosuch"), "latent.autoencoder = nosuch"),
        (2, other.replace("autoencoder=ae", "autoencoder=mnist"), "holds no run"),
        (2, format!("{other} --set model.in_channels=3"), "4 channels and 7x7"),
        (2, latent.replace("--run run", "--run ae"), "cannot be the run and its autoencoder"),
        (1, other.replace("autoencoder=ae", "autoencoder=run"), "is no autoencoder"),
        (1, latent.clone(), "already holds a run"),
        (1, LATENT.to_owned(), "already holds a run"),
    ] {
        let said = bench.fails(code, &arguments);
        assert!(said.contains(reason) && said.trim().lines().count() == 1, "{arguments}: {said}");
        assert!(!bench.path("other").exists() && !bench.path("run/autoencoder").exists(), "{arguments}");
    }

    // An autoencoder that was trained further gives other latents: its decoder would draw something else.
    bench.ok("train --run ae --resume --steps 31 --data mnist");
    for command in ["sample run --count 5 --steps 1 --out s.npy", "train --run run --resume --steps 5"] {
        let said = bench.fails(1, command);
        assert!(said.contains("is not what it was") && said.trim().lines().count() == 1, "{said}");
    }
}

#[cfg(unix)]
#[test]
fn an_interrupted_autoencoder_under_a_latent_model_goes_on_with_the_same_command() {
    use std::io::{BufRead, BufReader};
    let bench = Bench::new();
    folder(&bench);
    let mut child = bench
        .command(&format!("{LATENT} --json"))
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("\"start\"") {
        line.clear();
        assert!(reader.read_line(&mut line).unwrap() > 0, "ended early");
    }
    assert!(line.contains("mnist-autoencoder"), "{line}");
    let kill = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(kill.unwrap().success());
    std::io::copy(&mut reader, &mut std::io::sink()).unwrap();
    let out = child.wait_with_output().unwrap();
    let said = String::from_utf8(out.stderr).unwrap();
    assert!(out.status.code() == Some(1) && said.contains("give the same command again"), "{said}");
    assert!(bench.path("run/autoencoder/state.json").exists() && !bench.path("run/state.json").exists());
}

#[test]
fn configurations_that_do_not_fit_are_refused() {
    let bench = Bench::new();
    folder(&bench);
    images(&bench, "few", 9, 255);
    fs::write(
        bench.path("none.toml"),
        "preset = \"mnist-latent\"\n[train]\nkl_weight = 0.1\n[model]\nkind = \"autoencoder\"\nin_channels = 1\n\
         latent_channels = 4\nchannels = 32\nmultipliers = [1, 2]\n",
    )
    .unwrap();
    for (arguments, reason) in [
        ("train --preset mnist-dit --data few", "holds out none of 9 images"),
        ("train --preset mnist-autoencoder --data few", "holds out none of 9 images"),
        ("train --preset mnist-latent --data few", "holds out none of 9 images"),
        ("train --preset mnist-latent --data mnist --set data.side=30", "the autoencoder that comes first"),
        ("train --preset mnist-latent --data mnist --set model.in_channels=3", "4 channels and 7x7"),
        ("train --config none.toml --data mnist", "stands on latents"),
        (
            "train --preset mnist-unet --data mnist --set data.side=30 --set model.resample=residual_block",
            "shrink images 4 times",
        ),
        ("train --preset mnist-dit --data mnist --set data.side=200", "data.side = 200 is out of range: 1 to 128"),
        ("train --preset digits --data mnist", "come with the program"),
        ("train --preset mnist-dit --data mnist --set model.in_channels=3", "1 channels and 32x32"),
        ("train --preset mnist-dit --data mnist --set data.side=0", "data.side = 0"),
        ("train --preset mnist-dit --data mnist --set train.kl_weight=0.1", "for autoencoders only"),
        ("train --preset mnist-autoencoder --data mnist --set data.side=30", "shrinks images 4 times"),
        ("train --preset mnist-dit --data .", "train-images-idx3-ubyte"),
    ] {
        let said = bench.fails(2, arguments);
        assert!(said.contains(reason) && said.trim().lines().count() == 1, "{arguments}: {said}");
        assert!(!bench.path("runs").exists(), "{arguments}: what cannot start leaves nothing");
    }
}
