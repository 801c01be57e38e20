use crate::{Objective, TrainError};
use advect_core::{Field, NoiseKey, Purpose, State, Times};
use advect_paths::{
    AffinePath, Coupling, Independent, Path, Prediction, Predictor, Schedule, TimeSampler, Uncoupled,
    VelocityWeighting, Weighting, flow_matching_loss, weighted_loss,
};
use burn::tensor::{Int, Tensor, TensorData};
use rand::RngExt;
use std::sync::Arc;

/// One training batch of data, in the model's units.
///
/// # Shapes
/// - `data`: `[batch, ...]`
/// - `classes`, `ids`: `batch` entries
#[derive(Debug, Clone)]
pub struct Batch<const D: usize> {
    /// The data.
    pub data: Tensor<D>,
    /// The class of each row, if the model is conditional.
    pub classes: Option<Vec<usize>>,
    /// The name of each row: its noise, time and label drop are keyed by it, so no two draws of a run share one.
    pub ids: Vec<u64>,
}

/// How a network is scaled at one time: `skip x + out F(input x, noise)` is the prediction, F the network.
///
/// Karras et al., 2022, "Elucidating the Design Space of Diffusion-Based Generative Models", equation 7, with x for
/// their y: where noise is large, as on the VE and EDM paths, a network sees and gives numbers of size 1 all the same.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scaling {
    /// c_skip.
    pub skip: f64,
    /// c_out.
    pub out: f64,
    /// c_in.
    pub input: f64,
    /// c_noise, what the network sees in place of the time.
    pub noise: f64,
}

/// The scaling of a network at each time.
#[derive(Clone)]
pub struct Scalings(Arc<dyn Fn(f64) -> Scaling + Send + Sync>);

impl Scalings {
    /// The scaling as a function of the time.
    pub fn new(at: impl Fn(f64) -> Scaling + Send + Sync + 'static) -> Self {
        Self(Arc::new(at))
    }
}

impl std::fmt::Debug for Scalings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Scalings(..)")
    }
}

/// Flow matching (Lipman et al., 2023, equation 9): regress the conditional target of a path.
///
/// Labels are dropped to the null class row by row with probability `label_drop`, which trains the unconditional
/// model of classifier-free guidance (Ho & Salimans, 2022) along.
///
/// A coupling decides which noise meets which data: with [`ExactOt`](advect_paths::ExactOt) it is OT-CFM (Tong et al.,
/// 2024). Labels, times and label drops follow the data.
#[derive(Debug, Clone)]
pub struct FlowMatching<F, S, T, W = VelocityWeighting, C = Independent> {
    /// The network: `(model, x, t, class) -> output`.
    pub forward: F,
    /// The path from noise to data, with the law of noise and data before they are coupled.
    pub path: AffinePath<S>,
    /// The distribution of training times.
    pub times: T,
    /// What the network's output means, after its scaling.
    pub prediction: Prediction,
    /// How the network is scaled; `None` for a network that is asked at (x, t) and gives the prediction itself.
    pub scaling: Option<Scalings>,
    /// How much an error counts at each time; `None` is [`flow_matching_loss`], all errors of the velocity alike.
    pub weighting: Option<W>,
    /// Which noise meets which data of a batch.
    pub coupling: C,
    /// The probability of losing a label, in [0, 1].
    pub label_drop: f64,
    /// The class that stands for no label.
    pub null_class: usize,
    /// The seed of all noise.
    pub seed: u64,
}

impl<F, S, T> FlowMatching<F, S, T> {
    /// The objective of a network without classes, all errors of the velocity alike, independent noise; for a conditional
    /// one set `label_drop` and `null_class` too.
    #[must_use]
    pub fn new<M, const D: usize>(forward: F, path: AffinePath<S>, times: T, prediction: Prediction, seed: u64) -> Self
    where
        F: Fn(&M, Tensor<D>, Tensor<1>, Option<Tensor<1, Int>>) -> Tensor<D>,
    {
        let (scaling, weighting, coupling) = (None, None, Independent);
        Self { forward, path, times, prediction, scaling, weighting, coupling, label_drop: 0.0, null_class: 0, seed }
    }
}

impl<F, S, T, W, C> FlowMatching<F, S, T, W, C> {
    /// The same objective with another weight on the errors at each time.
    #[must_use]
    pub fn with_weighting<V: Weighting>(self, weighting: V) -> FlowMatching<F, S, T, V, C> {
        let Self { forward, path, times, prediction, scaling, coupling, label_drop, null_class, seed, .. } = self;
        let weighting = Some(weighting);
        FlowMatching { forward, path, times, prediction, scaling, weighting, coupling, label_drop, null_class, seed }
    }

    /// The same objective with other pairs of noise and data.
    #[must_use]
    pub fn with_coupling<K>(self, coupling: K) -> FlowMatching<F, S, T, W, K> {
        let Self { forward, path, times, prediction, scaling, weighting, label_drop, null_class, seed, .. } = self;
        FlowMatching { forward, path, times, prediction, scaling, weighting, coupling, label_drop, null_class, seed }
    }
}

impl<F, S: Schedule + Clone, T, W, C> FlowMatching<F, S, T, W, C> {
    /// What this objective makes of the output of `field`, the trained network: its prediction on this path, with the law of the pairs that the coupling
    /// made. A score asked of it after a coupling that is not independent is an error and no wrong number.
    ///
    /// A network with a [`scaling`](Self::scaling) has to be wrapped so that it gives the prediction first (`Preconditioned` in `advect-diffusion`).
    ///
    /// ```
    /// use advect_core::{Field, Times, shared};
    /// use advect_paths::{AffinePath, ExactOt, Linear, Prediction, SourceLaw, UniformTime};
    /// use advect_train::FlowMatching;
    /// use burn::tensor::{Device, Int, Tensor};
    ///
    /// # fn main() -> Result<(), advect_paths::PathError> {
    /// let network = |_: &(), x: Tensor<2>, _: Tensor<1>, _: Option<Tensor<1, Int>>| x;
    /// let path = AffinePath { schedule: Linear, source: SourceLaw::GaussianIndependent };
    /// let objective = FlowMatching::new(network, path, UniformTime::new(), Prediction::Velocity, 0).with_coupling(ExactOt::new());
    ///
    /// let trained = objective.predictor(shared(|x: Tensor<2>, _t: f64| x));
    /// assert!(trained.field(Prediction::Velocity, 0.0, 1.0).is_ok());
    /// assert!(trained.field(Prediction::Score, 0.0, 0.9).is_err());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn predictor<G, const D: usize>(&self, field: G) -> Predictor<G, S>
    where
        G: Field<Tensor<D>>,
        C: Coupling<D>,
    {
        let source = self.coupling.source_law(self.path.source);
        Predictor { field, prediction: self.prediction, schedule: self.path.schedule.clone(), source }
    }
}

impl<const D: usize> Batch<D> {
    /// A batch without classes.
    ///
    /// # Shapes
    /// - `data`: `[batch, ...]`
    /// - `ids`: `batch` entries
    #[must_use]
    pub fn new(data: Tensor<D>, ids: Vec<u64>) -> Self {
        Self { data, classes: None, ids }
    }
}

impl<M, F, S, T, W, C, const D: usize> Objective<M, Batch<D>> for FlowMatching<F, S, T, W, C>
where
    F: Fn(&M, Tensor<D>, Tensor<1>, Option<Tensor<1, Int>>) -> Tensor<D>,
    S: Schedule + Clone,
    T: TimeSampler,
    W: Weighting,
    C: Coupling<D>,
{
    fn loss(&self, model: &M, batch: &Batch<D>) -> Result<Tensor<1>, TrainError> {
        let rows = batch.data.dims()[0];
        for (what, count) in [("ids", Some(batch.ids.len())), ("classes", batch.classes.as_ref().map(Vec::len))] {
            if let Some(count) = count.filter(|&count| count != rows) {
                return Err(TrainError::Batch { what, count, rows });
            }
        }
        if rows == 0 {
            return Err(TrainError::Batch { what: "rows", count: 0, rows });
        }
        if !(0.0..=1.0).contains(&self.label_drop) {
            return Err(TrainError::Range { name: "label drop", value: self.label_drop, range: "0 to 1" });
        }
        let device = batch.data.device();
        let key = |purpose| NoiseKey::new(self.seed, purpose);
        let noise = key(Purpose::Source).normal(&batch.ids, 0, batch.data.dims(), &device);
        let classes = batch.classes.as_deref();
        // No two batches of a run have the same first row.
        let uncoupled =
            Uncoupled { noise: &noise, data: &batch.data, classes, key: key(Purpose::Coupling), step: batch.ids[0] };
        let pairing = self.coupling.pair(&uncoupled)?;
        let (noise, data) = pairing.apply(noise, batch.data.clone());
        let (ids, rows) = (pairing.follow(&batch.ids), pairing.data.len());
        let source = self.coupling.source_law(self.path.source);
        let times = Times::Each(self.times.sample(key(Purpose::Time), &ids, 0));
        let sample = AffinePath { schedule: self.path.schedule.clone(), source }.sample(noise, data, &times)?;
        let class = classes.map(|classes| {
            let classes = pairing.follow(classes);
            let (rate, null) = (self.label_drop, self.null_class);
            let values = key(Purpose::LabelDrop).each(&ids, 0, |row, rng| {
                let dropped = rng.random::<f64>() < rate;
                if dropped { null as i64 } else { classes[row] as i64 }
            });
            Tensor::<1, Int>::from_data(TensorData::new(values, [rows]), &device)
        });
        let ask = |x: Tensor<D>, times: &Times| (self.forward)(model, x, times.tensor(rows, &device), class);
        let output = match &self.scaling {
            None => ask(sample.x.clone(), &times),
            Some(Scalings(at)) => {
                let scalings: Vec<Scaling> = times.to_vec(rows).into_iter().map(|t| at(t)).collect();
                let each = |of: fn(&Scaling) -> f64| scalings.iter().map(of).collect::<Vec<f64>>();
                let x = || sample.x.clone();
                let raw = ask(x().combine_rows(&each(|s| s.input), &[]), &Times::Each(each(|s| s.noise)));
                x().combine_rows(&each(|s| s.skip), &[(&each(|s| s.out), &raw)])
            }
        };
        Ok(match &self.weighting {
            Some(weighting) => weighted_loss(output, &sample, self.prediction, weighting)?,
            None => flow_matching_loss(output, &sample, self.prediction)?,
        })
    }
}
