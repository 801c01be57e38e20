//! Weight files: round trips, determinism, and every way a file can be wrong.

use crate::setup::network;
use advect_nn::MlpConfig;
use advect_train::{TrainError, Weights};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{DType, Device, TensorData};
use std::{collections::BTreeMap, fs, path::Path};

#[test]
fn a_round_trip_keeps_every_bit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let mut weights = Weights::of(&network(3));
    weights.metadata = "hidden = 16 \u{2713}\n".to_owned();
    let known: Vec<&str> = weights.tensors.keys().map(String::as_str).collect();
    assert!(
        known.contains(&"input.weight") && known.contains(&"layers.1.bias") && known.contains(&"class.table.weight"),
        "{known:?}"
    );
    assert_eq!(weights.count(), MlpConfig::new(2, 16, 3).with_classes(Some(3)).num_params());
    weights.save(&path).unwrap();
    let loaded = Weights::load(&path).unwrap();
    assert_eq!(loaded, weights);

    // Into a network of other weights and out again: the same file to the byte.
    let mut again = Weights::of(&loaded.apply(network(4), &path).unwrap());
    again.metadata.clone_from(&weights.metadata);
    again.save(&path).unwrap();
    assert_eq!(fs::read(&path).unwrap(), weights.to_bytes().unwrap());

    // Outside autodiff as well.
    let plain = MlpConfig::new(2, 16, 3).with_classes(Some(3)).init(&Device::flex()).unwrap();
    assert_eq!(Weights::of(&loaded.apply(plain, &path).unwrap()).tensors, weights.tensors);
}

/// The layout, read by hand: header length, header with the names in order, then the numbers in that order.
#[test]
fn bytes_are_plain_safetensors() {
    let tensors = BTreeMap::from([
        ("b".to_owned(), TensorData::new(vec![1.5_f32, -2.0], [2])),
        ("a".to_owned(), TensorData::new(vec![0.25_f32], [1, 1])),
        ("n".to_owned(), TensorData::new(vec![7_i64], [1])),
    ]);
    let bytes = Weights { tensors, metadata: "note".to_owned() }.to_bytes().unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    assert_eq!(header["__metadata__"], serde_json::json!({"advect": "note"}));
    assert_eq!(header["a"]["dtype"], "F32");
    assert_eq!(header["a"]["shape"], serde_json::json!([1, 1]));
    let numbers = |name: &str| {
        let at = |i: usize| header[name]["data_offsets"][i].as_u64().unwrap() as usize + 8 + length;
        bytes[at(0)..at(1)].to_vec()
    };
    assert_eq!(numbers("a"), 0.25_f32.to_le_bytes());
    assert_eq!(numbers("b"), [1.5_f32.to_le_bytes(), (-2.0_f32).to_le_bytes()].concat());
    assert_eq!(numbers("n"), 7_i64.to_le_bytes());
    for _ in 0..8 {
        let same = Weights::of(&network(1)).to_bytes().unwrap();
        assert_eq!(same, Weights::of(&network(1)).to_bytes().unwrap());
    }
}

/// A file of another float type fills a model that keeps its own; these numbers are exact in all of them but the last.
#[test]
fn other_float_types_are_converted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("layer.safetensors");
    let load = |dtype: safetensors::Dtype, bytes: &[u8]| -> Vec<f32> {
        let view = safetensors::tensor::TensorView::new(dtype, vec![3, 1], bytes).unwrap();
        fs::write(&path, safetensors::serialize([("weight", view)], None).unwrap()).unwrap();
        let weights = Weights::load(&path).unwrap();
        let layer = LinearConfig::new(3, 1).with_bias(false).init(&Device::flex().autodiff());
        let layer: Linear = weights.apply(layer, &path).unwrap();
        assert_eq!(layer.weight.val().dtype(), DType::F32);
        assert!(layer.weight.is_require_grad());
        layer.weight.val().into_data().try_into_vec_as::<f32>().unwrap()
    };
    // The bits of 1, -0.5 and 0.0999755859375 (f16) or 0.10009765625 (bf16).
    let bytes = |bits: [u16; 3]| bits.map(u16::to_le_bytes).concat();
    assert_eq!(load(safetensors::Dtype::F16, &bytes([0x3c00, 0xb800, 0x2e66])), [1.0, -0.5, 0.099_975_586]);
    assert_eq!(load(safetensors::Dtype::BF16, &bytes([0x3f80, 0xbf00, 0x3dcd])), [1.0, -0.5, 0.100_097_656]);
    assert_eq!(load(safetensors::Dtype::F64, &[1.0_f64, -0.5, 0.1].map(f64::to_le_bytes).concat()), [1.0, -0.5, 0.1]);

    // What is no number of a network is refused by name.
    let view = safetensors::tensor::TensorView::new(safetensors::Dtype::U8, vec![3], &[1, 2, 3]).unwrap();
    fs::write(&path, safetensors::serialize([("mask", view)], None).unwrap()).unwrap();
    let message = Weights::load(&path).unwrap_err().to_string();
    assert!(message.contains("mask has type U8") && message.contains("layer.safetensors"), "{message}");
}

#[test]
fn what_does_not_fit_is_listed_by_name() {
    let mut weights = Weights::of(&network(1));
    weights.tensors.remove("layers.0.bias");
    weights.tensors.remove("output.weight");
    weights.tensors.insert("head.weight".to_owned(), TensorData::new(vec![0.0_f32], [1]));
    weights.tensors.insert("input.weight".to_owned(), TensorData::new(vec![0.0_f32; 32], [16, 2]));
    let error = weights.apply(network(1), Path::new("runs/x.safetensors")).unwrap_err();
    let message = error.to_string();
    let TrainError::Mismatch { path, missing, unexpected, misshapen } = error else { panic!("{message}") };
    assert_eq!(path, Path::new("runs/x.safetensors"));
    assert_eq!(missing, ["layers.0.bias", "output.weight"]);
    assert_eq!(unexpected, ["head.weight"]);
    assert_eq!(misshapen.len(), 1);
    assert!(misshapen[0].starts_with("input.weight (model [2, 16], file [16, 2])"), "{misshapen:?}");
    for part in ["runs/x.safetensors", "Missing (2)", "layers.0.bias", "Unexpected (1)", "Of another shape (1)"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    // A long list is cut, and says so.
    let deep = MlpConfig::new(2, 4, 9).init(&Device::flex()).unwrap();
    let count = Weights::of(&deep).tensors.len();
    assert!(count > 12);
    let message = Weights::default().apply(deep, Path::new("x")).unwrap_err().to_string();
    assert!(message.contains(&format!("Missing ({count})")), "{message}");
    assert!(message.contains(&format!("and {} more", count - 12)), "{message}");
}

/// One error that names the file, and never a panic: cut anywhere, foreign, empty, a folder, not there.
#[test]
fn broken_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("broken.safetensors");
    let whole = Weights::of(&LinearConfig::new(3, 1).init(&Device::flex())).to_bytes().unwrap();
    let mut contents: Vec<Vec<u8>> = (0..whole.len()).map(|cut| whole[..cut].to_vec()).collect();
    contents.push([&whole[..], b"x"].concat());
    contents.push(b"\x89PNG\r\n\x1a\n and more bytes of a picture".to_vec());
    contents.push(vec![0xff; 64]);
    contents.push(vec![0; 64]);
    for content in contents {
        fs::write(&path, &content).unwrap();
        let error = Weights::load(&path).unwrap_err();
        assert!(matches!(&error, TrainError::Weights { path: named, .. } if *named == path), "{error:?}");
        assert!(error.to_string().contains("broken.safetensors"), "{error}");
    }
    fs::write(&path, &whole).unwrap();
    Weights::load(&path).unwrap();
    for missing in [folder.path().join("none.safetensors"), folder.path().to_owned()] {
        let error = Weights::load(&missing).unwrap_err();
        assert!(matches!(&error, TrainError::File { action: "read", path, .. } if *path == missing), "{error:?}");
    }
    let nowhere = folder.path().join("no/such/folder.safetensors");
    assert!(matches!(Weights::default().save(&nowhere), Err(TrainError::File { action: "write", .. })));
}
