//! Tables of names, loading and export: against a network of diffusers, and values in closed form.

use std::path::{Path, PathBuf};

use advect_nn::checkpoint::{
    Backbone, Checkpoint, CheckpointError, Constant, Folder, Known, Layout, Loading, Manifest, Misshapen, Numbers,
    Precision, Row, Source, Tensors, Which, check, export, load, load_with, parameters, save,
};
use advect_nn::{UNet, UNetConfig};
use burn::module::{Module, ModuleVisitor, Param};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{DType, Device, FloatDType, Int, Tensor, TensorData};

use crate::fixture::{assert_close, values};

pub(crate) fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/checkpoint").join(name)
}

pub(crate) fn all(source: &dyn Source) -> Tensors {
    source.manifest().keys().map(|name| (name.clone(), source.tensor(name).unwrap())).collect()
}

/// The network of `tools/fixtures-nn/checkpoint.py`, from the configuration that diffusers wrote.
pub(crate) fn unet() -> (UNetConfig, Checkpoint) {
    let folder = Folder::open(&path("unet")).unwrap();
    assert_eq!(folder.layout().name, UNet::LAYOUT.name);
    let Backbone::UNet { config, size } = folder.backbone else { panic!("{:?}", folder.backbone) };
    assert_eq!(size, Some([8, 8]));
    (config, folder.checkpoint)
}

#[test]
fn a_folder_of_diffusers_is_the_network_it_was_saved_from() {
    let device = Device::flex();
    let (config, checkpoint) = unet();
    let network = load(config.init(&device).unwrap(), &UNet::LAYOUT, &checkpoint).unwrap();
    let io = all(&Checkpoint::open(&path("unet/io.safetensors")).unwrap());
    let class = Tensor::<1, Int>::from_data(io["class"].clone(), &device);
    let x = Tensor::<4>::from_data(io["x"].clone(), &device);
    let output = network.forward(x, Tensor::from_data(io["t"].clone(), &device), Some(class));
    assert_close("output", &output.into_data(), &values(&io["output"]));
}

#[test]
fn export_gives_back_every_byte() {
    let (config, checkpoint) = unet();
    let original = all(&checkpoint);
    for device in [Device::flex(), Device::flex().autodiff()] {
        let network = load(config.init(&device).unwrap(), &UNet::LAYOUT, &checkpoint).unwrap();
        assert_eq!(export(&network, &UNet::LAYOUT).unwrap(), original);
    }
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = ["1.safetensors", "2.safetensors"].map(|name| folder.path().join(name));
    save(&first, &original).unwrap();
    save(&second, &original).unwrap();
    assert_eq!(all(&Checkpoint::open(&first).unwrap()), original);
    let bytes = std::fs::read(&first).unwrap();
    assert_eq!(bytes, std::fs::read(&second).unwrap());
    // As the library of the format reads it.
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!(header.metadata().as_ref().unwrap()["format"], "pt");
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(file.len(), original.len());
    assert!(file.iter().all(|(name, view)| view.data() == original[name].as_bytes()));
}

#[test]
fn shards_hold_what_one_file_holds() {
    let folder = Folder::open(&path("sharded")).unwrap();
    assert_eq!(all(&folder.checkpoint), all(&unet().1));
    assert_eq!(folder.backbone, Folder::open(&path("unet")).unwrap().backbone);
}

/// Counts the weights that were made.
#[derive(Default)]
struct Made(usize, usize);

impl ModuleVisitor for Made {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0 += usize::from(param.is_initialized());
        self.1 += 1;
    }
}

fn made<M: Module>(module: &M) -> (usize, usize) {
    let mut made = Made::default();
    module.visit(&mut made);
    (made.0, made.1)
}

#[test]
fn names_and_shapes_are_compared_without_making_weights() {
    // Billions of weights: more than this machine's memory, perhaps.
    let config = UNetConfig::new(4, 1024, vec![1, 2, 3, 4]).with_attention(vec![4, 8]).with_blocks(3);
    assert!(config.num_params() > 2_000_000_000);
    let network = config.init(&Device::flex()).unwrap();
    let shapes = parameters(&network);
    let counted: usize = shapes.values().map(|shape| shape.iter().product::<usize>()).sum();
    assert_eq!(counted, config.num_params());
    let Err(CheckpointError::Mismatch { missing, .. }) = check(&network, &UNet::LAYOUT, &Manifest::new()) else {
        panic!("nothing is missing")
    };
    assert!(missing.len() > shapes.len(), "queries, keys and values are three there and one here");
    assert_eq!(made(&network), (0, shapes.len()));
}

#[test]
fn loading_makes_no_weight_to_throw_away() {
    let (config, checkpoint) = unet();
    let network = config.init(&Device::flex()).unwrap();
    let copy = network.clone(); // shares what is made late
    let loaded = load(network, &UNet::LAYOUT, &checkpoint).unwrap();
    let (made_of_loaded, count) = made(&loaded);
    assert_eq!(made_of_loaded, count);
    assert_eq!(made(&copy), (0, count));
}

#[test]
fn every_name_that_does_not_fit_is_listed() {
    let (config, checkpoint) = unet();
    let network = config.init(&Device::flex()).unwrap();
    let mut manifest = checkpoint.manifest();
    check(&network, &UNet::LAYOUT, &manifest).unwrap();
    manifest.remove("conv_in.bias").unwrap();
    manifest.remove("mid_block.attentions.0.to_k.weight").unwrap();
    let entry = manifest["conv_out.bias"].clone();
    manifest.insert("conv_outer.bias".into(), entry.clone());
    manifest.insert("down_blocks.2.resnets.0.conv1.bias".into(), entry);
    manifest.get_mut("conv_out.weight").unwrap().shape = vec![2, 4, 3, 3];
    manifest.get_mut("time_embedding.linear_1.weight").unwrap().shape = vec![4, 16];
    let error = check(&network, &UNet::LAYOUT, &manifest).unwrap_err();
    let CheckpointError::Mismatch { missing, unexpected, misshapen, .. } = &error else { panic!("{error}") };
    assert_eq!(*missing, ["conv_in.bias", "mid_block.attentions.0.to_k.weight"]);
    assert_eq!(*unexpected, ["conv_outer.bias", "down_blocks.2.resnets.0.conv1.bias"]);
    let shape = |name: &str, expected: &[usize], found: &[usize]| Misshapen {
        name: name.to_owned(),
        expected: expected.to_vec(),
        found: found.to_vec(),
    };
    let expected = [
        shape("conv_out.weight", &[1, 4, 3, 3], &[2, 4, 3, 3]),
        shape("time_embedding.linear_1.weight", &[16, 4], &[4, 16]),
    ];
    assert_eq!(*misshapen, expected);
    for name in missing.iter().chain(unexpected).chain(misshapen.iter().map(|shape| &shape.name)) {
        assert!(error.to_string().contains(name.as_str()), "{error}");
    }
}

#[test]
fn another_network_is_refused() {
    let (config, checkpoint) = unet();
    let other = config.clone().with_blocks(2).init(&Device::flex()).unwrap();
    let error = load(other, &UNet::LAYOUT, &checkpoint).unwrap_err();
    assert!(matches!(error, CheckpointError::Mismatch { .. }), "{error}");
    let mut integers = all(&checkpoint);
    integers.insert("conv_in.bias".into(), TensorData::from([1_i64, 2, 3, 4]));
    let error = load(config.init(&Device::flex()).unwrap(), &UNet::LAYOUT, &integers).unwrap_err();
    assert!(matches!(&error, CheckpointError::NotFloat { name, .. } if name == "conv_in.bias"), "{error}");
}

/// A network for tables of all kinds.
#[derive(Module, Debug)]
struct Toy {
    joint: Linear,
    blocks: Vec<Linear>,
    pointwise: Linear,
    shared: Linear,
}

fn toy(device: &Device) -> Toy {
    let linear = |from, to| LinearConfig::new(from, to).with_bias(false).init(device);
    Toy { joint: linear(3, 4), blocks: vec![linear(1, 2), linear(1, 2)], pointwise: linear(2, 3), shared: linear(2, 1) }
}

const TOY: Layout = Layout {
    name: "toy",
    rows: &[
        Row::linear("joint.weight", &["a.weight", "b.weight"]),
        Row::linear("blocks.*.*", &["layers.*.inner.*"]),
        Row::conv1x1("pointwise.weight", &["conv.weight"]),
        Row::linear("shared.weight", &["layers.*.copy.weight"]),
    ],
    constants: &[Constant { theirs: "positions", value: ramp }],
};

/// 0, 1/2, 1, ..: as many as the checkpoint has, on export four for each row of `joint`.
fn ramp(known: &Known<'_>) -> Option<TensorData> {
    let count = known.theirs().map_or_else(|| 4 * known.ours("joint.weight").unwrap()[0], |shape| shape[0]);
    Some(TensorData::new((0..count).map(|i| i as f32 / 2.0).collect(), [count]))
}

fn numbers(start: f32, shape: &[usize]) -> TensorData {
    let count: usize = shape.iter().product();
    TensorData::new((0..count).map(|i| start + i as f32).collect(), shape.to_vec())
}

fn toy_tensors() -> Tensors {
    let tensors = [
        ("a.weight", numbers(0.0, &[2, 3])),
        ("b.weight", numbers(10.0, &[2, 3])),
        ("layers.0.inner.weight", numbers(20.0, &[2, 1])),
        ("layers.1.inner.weight", numbers(30.0, &[2, 1])),
        ("conv.weight", numbers(40.0, &[3, 2, 1, 1])),
        ("layers.0.copy.weight", numbers(50.0, &[1, 2])),
        ("layers.1.copy.weight", numbers(50.0, &[1, 2])),
        ("positions", TensorData::from([0.0_f32, 0.5, 1.0])),
    ];
    tensors.map(|(name, data)| (name.to_owned(), data)).into()
}

#[test]
fn rows_join_transpose_copy_and_flatten() {
    let device = Device::flex();
    let tensors = toy_tensors();
    let toy = load(toy(&device), &TOY, &tensors).unwrap();
    let rows = |param: &Param<Tensor<2>>| values(&param.val().into_data());
    // [in, out]: input by input, first the outputs of a, then those of b.
    assert_eq!(rows(&toy.joint.weight), [0.0, 3.0, 10.0, 13.0, 1.0, 4.0, 11.0, 14.0, 2.0, 5.0, 12.0, 15.0]);
    assert_eq!(rows(&toy.blocks[1].weight), [30.0, 31.0]);
    assert_eq!(rows(&toy.pointwise.weight), [40.0, 42.0, 44.0, 41.0, 43.0, 45.0]);
    assert_eq!(rows(&toy.shared.weight), [50.0, 51.0]);

    let mut expected = tensors.clone();
    expected.insert("positions".into(), TensorData::new((0..12).map(|i| i as f32 / 2.0).collect(), [12]));
    assert_eq!(export(&toy, &TOY).unwrap(), expected);
}

#[test]
fn copies_have_to_agree() {
    let mut tensors = toy_tensors();
    tensors.insert("layers.1.copy.weight".into(), numbers(51.0, &[1, 2]));
    let error = load(toy(&Device::flex()), &TOY, &tensors).unwrap_err();
    assert!(matches!(error, CheckpointError::Copies { .. }), "{error}");
    tensors.remove("layers.1.copy.weight");
    let error = load(toy(&Device::flex()), &TOY, &tensors).unwrap_err();
    assert!(matches!(&error, CheckpointError::Mismatch { missing, .. } if missing.len() == 1), "{error}");
}

#[test]
fn constants_may_be_absent_but_not_wrong() {
    let mut tensors = toy_tensors();
    tensors.insert("positions".into(), TensorData::from([0.0_f32, 0.5, 1.001]));
    let error = load(toy(&Device::flex()), &TOY, &tensors).unwrap_err();
    assert!(error.to_string().contains("`positions`") && error.to_string().contains("value 2"), "{error}");
    tensors.insert("positions".into(), TensorData::from([0.0_f32, f32::NAN, 1.0]));
    load(toy(&Device::flex()), &TOY, &tensors).unwrap_err();
    tensors.remove("positions");
    load(toy(&Device::flex()), &TOY, &tensors).unwrap();
}

#[test]
fn a_table_that_does_not_describe_the_network_says_so() {
    const THREE: &[Row] = &[Row::linear("joint.weight", &["a", "b", "c"]), Row::linear("*.*.*", &["*.*.*"])];
    const TWICE: &[Row] = &[Row::linear("*.weight", &["same"]), Row::linear("*.*.weight", &["*.*"])];
    const COUNTLESS: &[Row] = &[Row::linear("*.weight", &["x.*.y"]), Row::linear("*.*.weight", &["*.*.z.*"])];
    let layout = |rows| Layout { name: "wrong", rows, constants: &[] };
    let device = Device::flex();
    for (rows, said) in [
        (&TOY.rows[1..], "no row matches our `joint.weight`"),
        (THREE, "`joint.weight` [3, 4] is not made of 3 Linear tensors"),
        (TWICE, "are both at `same`"),
        (COUNTLESS, "nothing to count"),
    ] {
        let error = check(&toy(&device), &layout(rows), &Manifest::new()).unwrap_err();
        assert!(matches!(error, CheckpointError::Layout { .. }), "{error}");
        assert!(error.to_string().contains(said), "{error}");
    }
}

#[test]
fn types_are_kept_or_cast() {
    let device = Device::flex();
    let cast = |tensors: &Tensors, dtype: DType| -> Tensors {
        let cast = |data: &TensorData| data.clone().try_cast(dtype).unwrap();
        tensors.iter().map(|(name, data)| (name.clone(), cast(data))).collect()
    };
    for dtype in [DType::F64, DType::F16, DType::BF16] {
        let mut tensors = cast(&toy_tensors(), dtype);
        let kept = load(toy(&device), &TOY, &tensors).unwrap();
        assert_eq!(kept.joint.weight.val().dtype(), dtype);
        tensors.remove("positions");
        let mut exported = export(&kept, &TOY).unwrap();
        exported.remove("positions");
        assert_eq!(exported, tensors, "byte for byte in {dtype:?}");
        let loading = Loading { dtype: Precision::Cast(FloatDType::F32), ..Loading::default() };
        let wide = load_with(toy(&device), &TOY, &tensors, loading).unwrap();
        assert_eq!(wide.joint.weight.val().dtype(), DType::F32);
        let mut expected = toy_tensors();
        expected.remove("positions"); // exported in another length
        let mut exported = export(&wide, &TOY).unwrap();
        exported.remove("positions");
        assert_eq!(exported, expected, "all values are exact in {dtype:?}");
    }
    let mut mixed = toy_tensors();
    mixed.insert("a.weight".into(), mixed["a.weight"].clone().try_cast(DType::F16).unwrap());
    let error = load(toy(&device), &TOY, &mixed).unwrap_err();
    assert!(matches!(error, CheckpointError::MixedTypes { .. }), "{error}");
    let loading = Loading { dtype: Precision::Cast(FloatDType::F32), ..Loading::default() };
    load_with(toy(&device), &TOY, &mixed, loading).unwrap();
}

#[test]
fn weights_that_are_no_numbers_are_an_error_unless_allowed() {
    let device = Device::flex();
    for dtype in [DType::F64, DType::F32, DType::F16, DType::BF16] {
        let mut tensors = toy_tensors();
        tensors
            .insert("conv.weight".into(), TensorData::new(vec![0.0, f32::NAN, 1.0, f32::NAN, 2.0, 3.0], [3, 2, 1, 1]));
        tensors.insert("layers.1.inner.weight".into(), TensorData::new(vec![f32::NEG_INFINITY, 65504.0], [2, 1]));
        for data in tensors.values_mut() {
            *data = data.clone().try_cast(dtype).unwrap();
        }
        let error = load(toy(&device), &TOY, &tensors).unwrap_err();
        let CheckpointError::NotFinite { first, tensors: count, values } = &error else { panic!("{error}") };
        // In the order of the network's fields.
        assert_eq!((first.as_str(), *count, *values), ("layers.1.inner.weight", 2, 3), "{dtype:?}");
        assert!(error.to_string().contains("3 values in 2 tensors"), "{error}");
        let loading = Loading { numbers: Numbers::Any, ..Loading::default() };
        let loaded = load_with(toy(&device), &TOY, &tensors, loading).unwrap();
        assert!(values_of(&loaded.pointwise).iter().any(|x| x.is_nan()));
    }
    let mut large = toy_tensors();
    large.insert("layers.0.inner.weight".into(), TensorData::new(vec![1e5_f32, 1.0], [2, 1]));
    let loading = Loading { dtype: Precision::Cast(FloatDType::F16), ..Loading::default() };
    let error = load_with(toy(&device), &TOY, &large, loading).unwrap_err();
    assert!(matches!(error, CheckpointError::NotFinite { values: 1, .. }), "1e5 is beyond f16: {error}");
}

fn values_of(layer: &Linear) -> Vec<f64> {
    values(&layer.weight.val().into_data())
}

#[test]
fn a_training_script_s_parts_are_chosen_by_name() {
    let expected = |start: f32, names: [&str; 2]| -> Tensors {
        let ramp = |k: f32, shape: &[usize]| {
            let count: usize = shape.iter().product();
            TensorData::new((0..count).map(|i| i as f32 / 8.0 + k).collect(), shape.to_vec())
        };
        [(names[0].to_owned(), ramp(start, &[2, 3])), (names[1].to_owned(), ramp(start + 1.0, &[2]))].into()
    };
    let (model, ema) = (expected(1.0, ["weight", "bias"]), expected(3.0, ["weight", "bias"]));
    for name in ["nested.pt", "wrapped.safetensors"] {
        let file = Checkpoint::open(&path(name)).unwrap();
        assert_eq!(all(&file.select(Which::Model).unwrap()), model, "{name}");
        assert_eq!(all(&file.select(Which::Ema).unwrap()), ema, "{name}");
    }
    let nested = Checkpoint::open(&path("nested.pt")).unwrap();
    assert_eq!(all(&nested.under("model").unwrap()), expected(1.0, ["module.weight", "module.bias"]));
    let error = nested.under("optimizer").unwrap_err().to_string();
    assert!(error.contains("no part `optimizer`: its parts are ema, model, opt"), "{error}");

    let only = Checkpoint::open(&path("ema-only.pt")).unwrap();
    assert_eq!(all(&only.select(Which::Ema).unwrap()), ema);
    let error = only.select(Which::Model).unwrap_err().to_string();
    assert!(error.contains("no part `model`: its parts are ema"), "{error}");

    let (_, plain) = unet();
    assert_eq!(plain.select(Which::Model).unwrap().manifest(), plain.manifest());
    assert!(matches!(plain.select(Which::Ema), Err(CheckpointError::Nested { .. })));
}
