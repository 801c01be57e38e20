//! Reads the files of `tools/fixtures-nn/generate.py`, and names parameters as diffusers does.

use std::collections::BTreeMap;
use std::path::Path;

use advect_nn::UNet;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use safetensors::{Dtype, SafeTensors};

/// What our parts are called in diffusers. A name starts and ends with a dot; lines apply in order.
const NAMES: &[(&str, &str)] = &[
    // ours                 diffusers
    (".time.", ".time_embedding."),
    (".class.table.", ".class_embedding."),
    (".down.", ".down_blocks."),
    (".up.", ".up_blocks."),
    (".middle.block1.", ".mid_block.resnets.0."),
    (".middle.attention.", ".mid_block.attentions.0."),
    (".middle.block2.", ".mid_block.resnets.1."),
    (".norm_out.", ".conv_norm_out."),
    // in a level
    (".blocks.", ".resnets."),
    (".attention.", ".attentions."),
    (".resample.Conv.", ".samplers.0.conv."), // "down" or "up" comes before "samplers": see `their_name`
    (".resample.Block.", ".samplers.0."),
    // in a residual block
    (".embedding.", ".time_emb_proj."),
    (".shortcut.", ".conv_shortcut."),
    // in an attention (qkv is three tensors there)
    (".norm.", ".group_norm."),
    (".out.", ".to_out.0."),
    // in a group norm
    (".gamma.", ".weight."),
    (".beta.", ".bias."),
];

/// Diffusers' name of our parameter.
fn their_name(ours: &str) -> String {
    let mut name = format!(".{ours}.");
    for (ours, theirs) in NAMES {
        name = name.replace(ours, theirs);
    }
    let direction = if name.starts_with(".down_blocks.") { ".downsamplers." } else { ".upsamplers." };
    name.replace(".samplers.", direction).trim_matches('.').to_owned()
}

/// A tensor of a file.
#[derive(Debug, Clone)]
pub(crate) struct Array {
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f64>,
}

impl Array {
    /// The transpose of a matrix: PyTorch stores a linear layer as `[out, in]`, Burn as `[in, out]`.
    fn transposed(&self) -> Self {
        let [rows, columns] = self.shape[..] else { panic!("not a matrix: {:?}", self.shape) };
        let values = (0..rows * columns).map(|i| self.values[i % rows * columns + i / rows]).collect();
        Self { shape: vec![columns, rows], values }
    }

    /// Stacked on the first axis.
    fn stacked(parts: &[&Self]) -> Self {
        let mut shape = parts[0].shape.clone();
        shape[0] = parts.iter().map(|part| part.shape[0]).sum();
        Self { shape, values: parts.iter().flat_map(|part| part.values.iter().copied()).collect() }
    }

    pub(crate) fn tensor<const D: usize>(&self, device: &Device) -> Tensor<D> {
        let values: Vec<f32> = self.values.iter().map(|&value| value as f32).collect();
        Tensor::from_data(TensorData::new(values, self.shape.clone()), device)
    }
}

/// A network, its input, output and gradients, from diffusers.
pub(crate) struct Fixture {
    arrays: BTreeMap<String, Array>,
    pub(crate) parameters: usize,
}

impl Fixture {
    pub(crate) fn read(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(format!("{name}.safetensors"));
        let bytes = std::fs::read(path).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let parameters = header.metadata().as_ref().unwrap()["parameters"].parse().unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let arrays = file.tensors().into_iter().map(|(name, view)| {
            let values = match view.dtype() {
                Dtype::F32 => {
                    let words = view.data().chunks_exact(4);
                    words.map(|word| f64::from(f32::from_le_bytes(word.try_into().unwrap()))).collect()
                }
                Dtype::I64 => {
                    let words = view.data().chunks_exact(8);
                    words.map(|word| i64::from_le_bytes(word.try_into().unwrap()) as f64).collect()
                }
                other => panic!("{name} is {other:?}"),
            };
            (name, Array { shape: view.shape().to_vec(), values })
        });
        Self { arrays: arrays.collect(), parameters }
    }

    pub(crate) fn get(&self, name: &str) -> &Array {
        self.find(name).unwrap_or_else(|| panic!("the fixture has no `{name}`"))
    }

    pub(crate) fn find(&self, name: &str) -> Option<&Array> {
        self.arrays.get(name)
    }

    /// How many tensors have names that start so.
    pub(crate) fn count(&self, prefix: &str) -> usize {
        self.arrays.keys().filter(|name| name.starts_with(prefix)).count()
    }

    /// What the fixture says under `prefix` about our parameter, in our layout, and how many of its tensors that took.
    fn for_ours(&self, prefix: &str, ours: &str, container: &str) -> Option<(Array, usize)> {
        let theirs = their_name(ours);
        let (array, used) = if theirs.contains(".qkv.") {
            let parts =
                ["to_q", "to_k", "to_v"].map(|part| self.find(&format!("{prefix}/{}", theirs.replace("qkv", part))));
            let [Some(q), Some(k), Some(v)] = parts else { return None };
            (Array::stacked(&[q, k, v]), 3)
        } else {
            (self.find(&format!("{prefix}/{theirs}"))?.clone(), 1)
        };
        let is_matrix = container == "Struct:Linear" && ours.ends_with(".weight");
        Some((if is_matrix { array.transposed() } else { array }, used))
    }

    /// The network with the fixture's weights: every parameter of ours from one of theirs, and none of theirs left over.
    pub(crate) fn load(&self, network: UNet) -> UNet {
        let mut loader = Loader { fixture: self, path: ModulePath::default(), used: 0 };
        let network = network.map(&mut loader);
        assert_eq!(loader.used, self.count("weight/"), "weights of diffusers that went nowhere");
        network
    }

    /// Compares the gradients of all parameters.
    pub(crate) fn check_gradients(&self, network: &UNet, gradients: &Gradients) {
        let mut checker = Checker { fixture: self, gradients, path: ModulePath::default(), full: 0, norms: 0 };
        network.visit(&mut checker);
        assert!(checker.full >= 3, "only {} gradients were compared", checker.full);
        assert_eq!(checker.norms, self.count("norms/"), "gradient norms of diffusers that were not compared");
    }
}

/// Where a traversal is.
#[derive(Default)]
struct ModulePath {
    names: Vec<String>,
    containers: Vec<String>,
}

impl ModulePath {
    fn enter(&mut self, name: &str, container: &str) {
        self.names.push(name.to_owned());
        self.containers.push(container.to_owned());
    }

    fn exit(&mut self) {
        self.names.pop();
        self.containers.pop();
    }

    fn name(&self) -> String {
        self.names.join(".")
    }

    fn container(&self) -> &str {
        self.containers.last().map_or("", |container| container)
    }
}

struct Loader<'a> {
    fixture: &'a Fixture,
    path: ModulePath,
    used: usize,
}

impl ModuleMapper for Loader<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = self.path.name();
        let found = self.fixture.for_ours("weight", &name, self.path.container());
        let (array, used) = found.unwrap_or_else(|| panic!("no weight for `{name}` = `{}`", their_name(&name)));
        self.used += used;
        let value = array.tensor::<D>(&param.val().device());
        assert_eq!(value.dims(), param.val().dims(), "{name}");
        Param::from_tensor(value)
    }
}

struct Checker<'a> {
    fixture: &'a Fixture,
    gradients: &'a Gradients,
    path: ModulePath,
    full: usize,
    norms: usize,
}

impl ModuleVisitor for Checker<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let name = self.path.name();
        let theirs = their_name(&name);
        let gradient = param.grad(self.gradients).unwrap_or_else(|| panic!("no gradient for {name}"));

        if let Some((expected, used)) = self.fixture.for_ours("grad", &name, self.path.container()) {
            assert_close(&name, &gradient.clone().into_data(), &expected.values);
            self.full += used;
        }
        for (index, part) in ["to_q", "to_k", "to_v"].iter().enumerate() {
            let (key, gradient) = match theirs.contains(".qkv.") {
                true => {
                    let parts = gradient.clone().chunk(3, D - 1);
                    (theirs.replace("qkv", part), parts[index].clone())
                }
                false => (theirs.clone(), gradient.clone()),
            };
            let expected = self.fixture.get(&format!("norms/{key}"));
            let norm = values(&gradient.clone().into_data()).iter().map(|x| x * x).sum::<f64>().sqrt();
            // A bias of the keys shifts all scores of a query by the same number: its gradient is rounding.
            if !key.ends_with("to_k.bias") {
                assert_close(&format!("norm of the gradient of {key}"), &TensorData::from([norm]), &expected.values);
            }
            if let Some(expected) = self.fixture.find(&format!("grad/{key}")).filter(|_| theirs.contains(".qkv.")) {
                let expected = if D == 2 { expected.transposed() } else { expected.clone() };
                assert_close(&key, &gradient.into_data(), &expected.values);
                self.full += 1;
            }
            self.norms += 1;
            if !theirs.contains(".qkv.") {
                break;
            }
        }
    }
}

pub(crate) fn values(data: &TensorData) -> Vec<f64> {
    data.clone().convert::<f64>().try_to_vec().unwrap()
}

/// That the greatest deviation is at most 1e-4 of the greatest value.
pub(crate) fn assert_close(what: &str, found: &TensorData, expected: &[f64]) {
    let found = values(found);
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = |values: &mut dyn Iterator<Item = f64>| {
        values.fold(0.0, |a: f64, b| if b.is_nan() { b } else { a.max(b.abs()) })
    };
    let error = largest(&mut found.iter().zip(expected).map(|(a, b)| a - b));
    let size = largest(&mut expected.iter().copied());
    if std::env::var_os("ADVECT_SHOW_ERRORS").is_some() {
        println!("{:.1e} {what}", error / size);
    }
    assert!(error <= 1e-4 * size, "{what}: off by {error:e}, values up to {size:e}");
}
