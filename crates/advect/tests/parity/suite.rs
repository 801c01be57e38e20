//! The cases, how they are compared, and their table.

use advect::core::normal;
use advect::prelude::*;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Gradients, Int, TensorData};
use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

/// Where and in which type one side of a comparison is computed.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) device: Device,
    pub(crate) dtype: DType,
}

impl Place {
    /// The other side: f64 on the processor, where this crate's fast paths do not run.
    pub(crate) fn reference() -> Self {
        Self { device: Device::flex(), dtype: DType::F64 }
    }

    pub(crate) fn autodiff(&self) -> Self {
        Self { device: self.device.clone().autodiff(), dtype: self.dtype }
    }

    /// Numbers as a tensor of this place. They should be representable in f32, so that both sides start alike.
    pub(crate) fn tensor<const D: usize>(&self, values: &[f64], shape: [usize; D]) -> Tensor<D> {
        Tensor::from_data(TensorData::new(values.to_vec(), shape), (&self.device, self.dtype))
    }

    /// Standard normal numbers, the same at every place.
    pub(crate) fn noise<const D: usize>(&self, seed: u64, shape: [usize; D]) -> Tensor<D> {
        self.tensor(&noise(seed, shape.iter().product()), shape)
    }

    /// The numbers of its type that are nearest to these.
    pub(crate) fn round(&self, values: &[f64]) -> Vec<f64> {
        let data = TensorData::new(values.to_vec(), [values.len()]).convert_dtype(self.dtype);
        data.convert::<f64>().try_to_vec().expect("f64 was asked for")
    }

    pub(crate) fn classes(&self, values: &[i64]) -> Tensor<1, Int> {
        Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), &self.device)
    }
}

/// Standard normal numbers, rounded to f32.
pub(crate) fn noise(seed: u64, count: usize) -> Vec<f64> {
    let mut rng = NoiseKey::new(seed, Purpose::Custom(7)).rng(0, 0);
    (0..count).map(|_| f64::from(normal(&mut rng) as f32)).collect()
}

/// All elements in a row.
pub(crate) fn flat<const D: usize>(x: Tensor<D>) -> Tensor<1> {
    let count: usize = x.dims().iter().product();
    x.reshape([count])
}

pub(crate) fn values<const D: usize>(x: Tensor<D>) -> Vec<f64> {
    x.into_data().convert::<f64>().try_to_vec().expect("f64 was asked for")
}

/// The largest difference, in units of the largest number expected; infinite for a NaN that was not expected.
pub(crate) fn error(got: &[f64], expected: &[f64]) -> f64 {
    error_in(got, expected, largest(expected))
}

fn error_in(got: &[f64], expected: &[f64], unit: f64) -> f64 {
    assert_eq!(got.len(), expected.len(), "number of elements");
    let off = |(g, e): (&f64, &f64)| match (g.is_nan(), e.is_nan()) {
        (true, true) => 0.0,
        (false, false) if g == e => 0.0,
        (false, false) if (g - e).is_finite() => (g - e).abs() / unit.max(f64::MIN_POSITIVE),
        _ => f64::INFINITY,
    };
    got.iter().zip(expected).map(off).fold(0.0, f64::max)
}

fn largest(values: &[f64]) -> f64 {
    values.iter().filter(|v| v.is_finite()).fold(0.0, |m, v| v.abs().max(m))
}

/// The largest error of several gradients. One that is rounding noise beside the others (that of a bias before a
/// normalisation is zero) is measured in units of a hundredth of the largest.
fn gradient_error(got: &[Vec<f64>], expected: &[Vec<f64>]) -> f64 {
    assert_eq!(got.len(), expected.len(), "number of gradients");
    let all = expected.iter().map(|e| largest(e)).fold(0.0, f64::max);
    assert!(all > 0.0, "no gradient at all");
    got.iter().zip(expected).map(|(g, e)| error_in(g, e, largest(e).max(0.01 * all))).fold(0.0, f64::max)
}

/// What a case found: the largest errors, forward and of the gradients.
pub(crate) struct Errors {
    pub(crate) forward: f64,
    pub(crate) gradient: Option<f64>,
}

impl Errors {
    pub(crate) fn forward(forward: f64) -> Self {
        Self { forward, gradient: None }
    }
}

struct Row {
    group: &'static str,
    name: String,
    bound: f64,
    found: Result<Errors, String>,
    seconds: f64,
}

impl Row {
    fn passed(&self) -> bool {
        self.found.as_ref().is_ok_and(|e| e.forward <= self.bound && e.gradient.is_none_or(|g| g <= self.bound))
    }
}

pub(crate) struct Suite {
    /// The device under test, in f32.
    pub(crate) place: Place,
    /// Whether products of f32 may round their factors to 10 bits.
    tf32: bool,
    wanted: Vec<String>,
    group: &'static str,
    rows: Vec<Row>,
}

/// The operators that are also run in half precision, where the device computes in one: those with kernels for cards, and those that add up many numbers.
/// Inputs are numbers of that type, and sums and exponentials are f32: what is off is the rounding of a few results, 2^-9 of them each in bf16.
const HALF: [&str; 12] = [
    "silu",
    "softmax",
    "layer norm",
    "modulated layer norm",
    "gated residual",
    "group norm",
    "group norm, silu",
    "modulated group norm, silu",
    "modulated group norm, silu, channels last",
    "convolution 3x3",
    "attention, 300 keys",
    "self-attention",
];
/// In f16 no sum is added up from parts, and products of f16 are minutes of compilation on software Vulkan.
const BF16_ALONE: [&str; 7] = [
    "linear, 5120 rows",
    "feed-forward",
    "self-attention, heads of 64",
    "self-attention, heads of 72",
    "convolution 3x3, 24 channels",
    "convolution 1x1, 64 channels",
    "convolution 3x2, 72 channels",
];
pub(crate) const BF16_BOUND: f64 = 2e-2;
pub(crate) const F16_BOUND: f64 = 3e-3;

/// What a case with products may be off on a card where Burn's tuning is free to choose TF32 for them: the factors
/// are rounded to 2^-11 of themselves. Nothing for a case without.
fn tf32_bound(called: &str) -> f64 {
    const OPERATORS: [&str; 9] =
        ["linear", "feed-forward", "perceptron", "attention", "convolution", "5257", "5352", "5658", "one channel"];
    const NETWORKS: [&str; 4] = ["backbone ", "five steps of AdamW", "5162", "5202"];
    if called.contains("time features") {
        0.0
    } else if called.contains("patch discriminator") {
        // Leaky ReLUs, some of which take their other slope: see tools/tf32_kinks.py.
        2e-1
    } else if NETWORKS.iter().any(|name| called.contains(name)) {
        2e-2
    } else if OPERATORS.iter().any(|name| called.contains(name)) {
        2e-3
    } else {
        0.0
    }
}

impl Suite {
    pub(crate) fn new(device: Device, wanted: Vec<String>, tf32: bool) -> Self {
        Self { place: Place { device, dtype: DType::F32 }, tf32, wanted, group: "", rows: Vec::new() }
    }

    /// The part of the table that the next cases belong to.
    pub(crate) fn group(&mut self, group: &'static str) {
        self.group = group;
    }

    /// One case: what it found must not be larger than `bound`. A panic is a failure of this case alone.
    pub(crate) fn case(&mut self, name: &str, bound: f64, run: impl FnOnce(&Place) -> Errors) {
        let called = format!("{} {name}", self.group);
        if !self.wanted.is_empty() && !self.wanted.iter().any(|wanted| called.contains(wanted)) {
            return;
        }
        let bound = if self.tf32 { bound.max(tf32_bound(&called)) } else { bound };
        let started = Instant::now();
        let found = catch_unwind(AssertUnwindSafe(|| run(&self.place))).map_err(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            text.or_else(|| panic.downcast_ref::<&str>().map(|&s| s.to_owned())).unwrap_or_else(|| "panic".to_owned())
        });
        let seconds = started.elapsed().as_secs_f64();
        let row = Row { group: self.group, name: name.to_owned(), bound, found, seconds };
        // As it goes: on a card that compiles its first kernels the table is minutes away.
        let verdict = if row.passed() { "ok" } else { "FAILED" };
        match &row.found {
            Ok(Errors { forward, gradient }) => {
                let gradient = gradient.map_or_else(|| "-".to_owned(), |g| format!("{g:.1e}"));
                eprintln!("{verdict} {called}: {forward:.1e}, {gradient} (at most {bound:.0e}) in {seconds:.1} s");
            }
            Err(message) => eprintln!("{verdict} {called}: {message}"),
        }
        self.rows.push(row);
    }

    /// A function of several tensors, forward and gradients, beside the same made of Burn's operators. Inputs are
    /// normal numbers, times their scale.
    pub(crate) fn operator(
        &mut self,
        name: &str,
        bound: f64,
        inputs: &[(usize, f64)],
        ours: impl Fn(&[Tensor<1>]) -> Tensor<1>,
        theirs: impl Fn(&[Tensor<1>]) -> Tensor<1>,
    ) {
        let inputs: Vec<Vec<f64>> = inputs
            .iter()
            .enumerate()
            .map(|(k, &(count, scale))| noise(k as u64, count).iter().map(|x| f64::from((x * scale) as f32)).collect())
            .collect();
        self.operator_at(name, bound, &inputs, ours, theirs);
    }

    /// The same at given numbers.
    pub(crate) fn operator_at(
        &mut self,
        name: &str,
        bound: f64,
        inputs: &[Vec<f64>],
        ours: impl Fn(&[Tensor<1>]) -> Tensor<1>,
        theirs: impl Fn(&[Tensor<1>]) -> Tensor<1>,
    ) {
        self.case(name, bound, |place| compare(place, inputs, &ours, &theirs));
        let half = |dtype: &DType| self.place.device.supports_dtype(*dtype);
        if let Some(dtype) = [DType::BF16, DType::F16].into_iter().find(half)
            && self.group == "operator"
            && (HALF.contains(&name) || (dtype == DType::BF16 && BF16_ALONE.contains(&name)))
        {
            let (kind, bound) = if dtype == DType::BF16 { ("bf16", BF16_BOUND) } else { ("f16", F16_BOUND) };
            self.case(&format!("{name}, {kind}"), bound, |place| {
                let place = Place { device: place.device.clone(), dtype };
                let inputs: Vec<Vec<f64>> = inputs.iter().map(|x| place.round(x)).collect();
                compare(&place, &inputs, &ours, &theirs)
            });
        }
    }

    /// A network with the same weights at both places: its output, and the gradients of its input and parameters.
    pub(crate) fn network<M: Module>(
        &mut self,
        name: &str,
        bound: f64,
        init: impl Fn(&Device) -> M,
        input: usize,
        forward: impl Fn(&M, Tensor<1>, &Place) -> Tensor<1>,
    ) {
        self.case(name, bound, |place| {
            let weights = Weights::of(&init(&Device::flex()));
            let run = |place: &Place| {
                let place = place.autodiff();
                let network = weights.give(init(&place.device), &place);
                let x = place.noise(1, [input]).require_grad();
                let y = forward(&network, x.clone(), &place);
                let slope = place.noise(2, y.dims());
                let gradients = (y.clone() * slope).sum().backward();
                let mut slopes = vec![values(x.grad(&gradients).expect("the input takes part"))];
                slopes.extend(parameter_gradients(&network, &gradients));
                (values(y), slopes)
            };
            let ((got, got_slopes), (expected, expected_slopes)) = (run(place), run(&Place::reference()));
            Errors { forward: error(&got, &expected), gradient: Some(gradient_error(&got_slopes, &expected_slopes)) }
        });
    }

    /// Prints the table; a failure if a case failed.
    pub(crate) fn report(self, device: &str) -> ExitCode {
        let fusion = if device == "flex" {
            ""
        } else if cfg!(feature = "fusion") {
            ", fusion on"
        } else {
            ", fusion off"
        };
        let mut table = format!(
            "Device `{device}`{fusion}, f32 (half precision where it is said) against f64 on the processor.\n\n"
        );
        table += "| part | case | forward | gradient | tolerance | seconds |\n| --- | --- | --- | --- | --- | --- |\n";
        for row in &self.rows {
            let (forward, gradient) = match &row.found {
                Ok(e) => (format!("{:.1e}", e.forward), e.gradient.map_or("-".to_owned(), |g| format!("{g:.1e}"))),
                Err(_) => ("panic".to_owned(), "panic".to_owned()),
            };
            let mark = if row.passed() { "" } else { " FAILED" };
            let (group, name, bound, seconds) = (row.group, &row.name, row.bound, row.seconds);
            let _ = writeln!(table, "| {group} | {name}{mark} | {forward} | {gradient} | {bound:.0e} | {seconds:.1} |");
        }
        println!("{table}");
        if let Some(path) = std::env::var_os("ADVECT_PARITY_TABLE")
            && let Err(error) = std::fs::write(&path, &table)
        {
            eprintln!("cannot write {}: {error}", path.display());
            return ExitCode::FAILURE;
        }
        let failed: Vec<&Row> = self.rows.iter().filter(|row| !row.passed()).collect();
        if self.rows.is_empty() || !failed.is_empty() {
            println!("parity: {} of {} cases FAILED", failed.len(), self.rows.len());
            return ExitCode::FAILURE;
        }
        println!("parity: {} cases passed", self.rows.len());
        ExitCode::SUCCESS
    }
}

/// A function at a place beside another one in f64.
fn compare(
    place: &Place,
    inputs: &[Vec<f64>],
    ours: impl Fn(&[Tensor<1>]) -> Tensor<1>,
    theirs: impl Fn(&[Tensor<1>]) -> Tensor<1>,
) -> Errors {
    let slopes = |count: usize| place.round(&noise(1000, count));
    let (got, got_slopes) = differentiate(place, inputs, slopes, ours);
    let (expected, expected_slopes) = differentiate(&Place::reference(), inputs, slopes, theirs);
    Errors { forward: error(&got, &expected), gradient: Some(gradient_error(&got_slopes, &expected_slopes)) }
}

/// A function's values at a place, and the gradients of its product with given numbers.
fn differentiate(
    place: &Place,
    inputs: &[Vec<f64>],
    slopes: impl Fn(usize) -> Vec<f64>,
    function: impl Fn(&[Tensor<1>]) -> Tensor<1>,
) -> (Vec<f64>, Vec<Vec<f64>>) {
    let place = place.autodiff();
    let inputs: Vec<Tensor<1>> = inputs.iter().map(|v| place.tensor(v, [v.len()]).require_grad()).collect();
    let y = function(&inputs);
    let slope = place.tensor(&slopes(y.dims()[0]), y.dims());
    let gradients = (y.clone() * slope).sum().backward();
    let slopes = inputs.iter().map(|x| values(x.grad(&gradients).expect("every input takes part"))).collect();
    (values(y), slopes)
}

/// The parameters of a module on the host, moved away from the zeros and ones that initialization leaves.
pub(crate) struct Weights(Vec<Vec<f64>>);

impl Weights {
    pub(crate) fn of<M: Module>(module: &M) -> Self {
        struct Read(Vec<Vec<f64>>);
        impl ModuleVisitor for Read {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                let own = values(param.val());
                let moved = noise(100 + self.0.len() as u64, own.len());
                self.0.push(own.iter().zip(moved).map(|(w, n)| f64::from((w + 0.05 * n) as f32)).collect());
            }
        }
        let mut read = Read(Vec::new());
        module.visit(&mut read);
        Self(read.0)
    }

    /// The module with these parameters in the type of the place, tracked as they were.
    pub(crate) fn give<M: Module>(&self, module: M, place: &Place) -> M {
        struct Write<'a>(std::slice::Iter<'a, Vec<f64>>, &'a Place);
        impl ModuleMapper for Write<'_> {
            fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
                let values = self.0.next().expect("one for each parameter");
                let (id, old, mapper) = param.consume();
                let new = self.1.tensor(values, old.dims()).set_require_grad(old.is_require_grad());
                Param::from_mapped_value(id, new, mapper)
            }
        }
        module.map(&mut Write(self.0.iter(), place))
    }
}

/// The gradients of all parameters that take part.
pub(crate) fn parameter_gradients<M: Module>(module: &M, gradients: &Gradients) -> Vec<Vec<f64>> {
    struct Read<'a>(&'a Gradients, Vec<Vec<f64>>);
    impl ModuleVisitor for Read<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.1.extend(param.val().grad(self.0).map(values));
        }
    }
    let mut read = Read(gradients, Vec::new());
    module.visit(&mut read);
    read.1
}

/// All parameters, one after the other.
pub(crate) fn parameters<M: Module>(module: &M) -> Vec<f64> {
    struct Read(Vec<f64>);
    impl ModuleVisitor for Read {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.extend(values(param.val().inner()));
        }
    }
    let mut read = Read(Vec::new());
    module.visit(&mut read);
    read.0
}
