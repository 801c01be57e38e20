//! Reads the files of the scripts in `tools/fixtures-nn`.

use std::collections::BTreeMap;
use std::path::Path;

use advect_nn::checkpoint::{self, Layout, Tensors};
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use safetensors::{Dtype, SafeTensors};

/// A tensor of a file.
#[derive(Debug, Clone)]
pub(crate) struct Array {
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f64>,
}

impl Array {
    pub(crate) fn tensor<const D: usize>(&self, device: &Device) -> Tensor<D> {
        Tensor::from_data(self.data(), device)
    }

    fn data(&self) -> TensorData {
        let values: Vec<f32> = self.values.iter().map(|&value| value as f32).collect();
        TensorData::new(values, self.shape.clone())
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

    /// The network with the fixture's weights: every parameter of ours from some of theirs, and none of theirs left over.
    pub(crate) fn load<M: Module>(&self, network: M, layout: &Layout) -> M {
        checkpoint::load(network, layout, &self.weights()).unwrap()
    }

    /// The weights under diffusers' names.
    pub(crate) fn weights(&self) -> Tensors {
        let weights = self.arrays.iter().filter_map(|(name, array)| Some((name.strip_prefix("weight/")?, array)));
        weights.map(|(name, array)| (name.to_owned(), array.data())).collect()
    }

    /// Compares the gradients of all parameters: the norms of all, and the values of those that the fixture has.
    pub(crate) fn check_gradients<M: Module>(&self, network: M, layout: &Layout, gradients: &Gradients) {
        let gradients = checkpoint::export(&network.map(&mut Derivatives(gradients)), layout).unwrap();
        assert_eq!(gradients.len(), self.count("norms/"), "gradient norms of diffusers that were not compared");
        let mut full = 0;
        for (name, gradient) in &gradients {
            let norm = values(gradient).iter().map(|x| x * x).sum::<f64>().sqrt();
            // A bias of all keys shifts all scores of a query by the same number: its gradient is rounding.
            if !["to_k.bias", "k_norm.bias"].iter().any(|bias| name.ends_with(bias)) {
                let expected = &self.get(&format!("norms/{name}")).values;
                assert_close(&format!("norm of the gradient of {name}"), &TensorData::from([norm]), expected);
            }
            if let Some(expected) = self.find(&format!("grad/{name}")) {
                assert_eq!(gradient.shape().to_vec(), expected.shape, "{name}");
                assert_close(&format!("gradient of {name}"), gradient, &expected.values);
                full += 1;
            }
        }
        assert!(full >= 3, "only {full} gradients were compared");
    }
}

/// Puts the gradient of each parameter in its place.
struct Derivatives<'a>(&'a Gradients);

impl ModuleMapper for Derivatives<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        Param::from_tensor(param.grad(self.0).unwrap())
    }
}

pub(crate) fn values(data: &TensorData) -> Vec<f64> {
    data.clone().convert::<f64>().try_to_vec().unwrap()
}

/// The greatest absolute value; NaN if any is NaN, which `f64::max` would drop.
pub(crate) fn largest(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().fold(0.0, |a: f64, b| if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b.abs()) })
}

/// That the greatest deviation is at most 1e-4 of the greatest value.
pub(crate) fn assert_close(what: &str, found: &TensorData, expected: &[f64]) {
    let found = values(found);
    assert_eq!(found.len(), expected.len(), "{what}");
    let error = largest(found.iter().zip(expected).map(|(a, b)| a - b));
    let size = largest(expected.iter().copied());
    if std::env::var_os("ADVECT_SHOW_ERRORS").is_some() {
        println!("{:.1e} {what}", error / size);
    }
    assert!(error <= 1e-4 * size, "{what}: off by {error:e}, values up to {size:e}");
}

#[test]
#[should_panic(expected = "off by NaN")]
fn a_number_that_is_none_is_close_to_nothing() {
    assert_close("it", &TensorData::from([f64::NAN, 1.0]), &[1.0, 1.0]);
}
