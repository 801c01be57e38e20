//! Models of MNIST, on a folder of idx files made here: the transformer, the autoencoder and what stands on it.

use crate::{Bench, npy};
use std::fs;

/// Sixty images of a bar at a place that says the class, in files as MNIST has them.
fn folder(bench: &Bench) {
    let (count, side) = (60_u8, 28_u8);
    let header = |sizes: &[u8]| -> Vec<u8> {
        let mut bytes = vec![0, 0, 8, sizes.len() as u8];
        bytes.extend(sizes.iter().flat_map(|&size| [0, 0, 0, size]));
        bytes
    };
    let mut images = header(&[count, side, side]);
    for i in 0..count {
        let row = |y: u8| vec![if y / 2 == i % 10 + 2 { 255 } else { 0 }; usize::from(side)];
        images.extend((0..side).flat_map(row));
    }
    let mut labels = header(&[count]);
    labels.extend((0..count).map(|i| i % 10));
    fs::create_dir(bench.path("mnist")).unwrap();
    fs::write(bench.path("mnist/train-images-idx3-ubyte"), images).unwrap();
    fs::write(bench.path("mnist/train-labels-idx1-ubyte"), labels).unwrap();
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

    bench.ok(&format!("{DIT} --data mnist"));
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

    let latent = format!("{LATENT} --set latent.autoencoder=../ae");
    let said = bench.ok(&latent);
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
    bench.ok("train --run run --resume --steps 3");
    assert_eq!(fs::metadata(bench.path("run/latents.safetensors")).unwrap().modified().unwrap(), before);

    // An autoencoder of other data is refused.
    let said = bench.fails(2, &format!("{} --set data.held_out=5", latent.replace("--run run", "--run other")));
    assert!(said.contains("other data or another split"), "{said}");
}

#[test]
fn configurations_that_do_not_fit_are_refused() {
    let bench = Bench::new();
    folder(&bench);
    for (arguments, reason) in [
        ("train --preset digits --data mnist", "come with the program"),
        ("train --preset mnist-dit --data mnist --set model.in_channels=3", "1 channels and 32x32"),
        ("train --preset mnist-dit --data mnist --set data.side=0", "data.side = 0"),
        ("train --preset mnist-dit --data mnist --set train.kl_weight=0.1", "for autoencoders only"),
        ("train --preset mnist-autoencoder --data mnist --set data.side=30", "shrinks images 4 times"),
        ("train --preset mnist-dit --data .", "train-images-idx3-ubyte"),
    ] {
        let out = bench.run(arguments);
        let said = String::from_utf8(out.stderr).unwrap();
        assert!(!out.status.success() && said.contains(reason), "{arguments}: {said}");
        assert!(!said.contains("panicked") && said.trim().lines().count() == 1, "{said}");
    }
}
