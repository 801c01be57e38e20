use crate::prediction::Rates;
use crate::weighting::weight_on;
use crate::{Coefficients, PathError, Prediction, Schedule, SourceLaw, Weighting};
use advect_core::{State, Times};
use burn::tensor::Tensor;

/// A probability path: it says what x_t is for a pair of noise and data, and which targets go with it.
pub trait Path<const D: usize> {
    /// The points of the path for pairs of noise and data.
    ///
    /// # Shapes
    /// - `noise`, `data`: `[batch, ...]`, equal
    /// - `times`: shared, or one a row
    ///
    /// # Errors
    /// [`PathError`] if shapes or row counts differ, or a time is outside [0, 1].
    fn sample(&self, noise: Tensor<D>, data: Tensor<D>, times: &Times) -> Result<PathSample<D>, PathError>;
}

/// The affine path `x_t = alpha x_1 + sigma x_0` of a schedule, for pairs of a stated law.
///
/// Lipman et al., 2024, "Flow Matching Guide and Code", section 4.8.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AffinePath<S> {
    /// The schedule.
    pub schedule: S,
    /// The law of the pairs that will be given: without a Gaussian independent source there is no score target.
    pub source: SourceLaw,
}

impl<S: Schedule> AffinePath<S> {
    /// The path of a schedule, for pairs of a stated law.
    pub fn new(schedule: S, source: SourceLaw) -> Self {
        Self { schedule, source }
    }

    /// Whether a network with this prediction can be trained on this path with this weighting, at times between `from`
    /// and `to`: asked before training, so that a run does not fail, or learn what is not so, in the middle.
    ///
    /// Take the times from `law.quantile(0.0)` and `law.quantile(1.0)` of the [`TimeLaw`](crate::TimeLaw).
    ///
    /// # Errors
    /// [`PathError::NoScore`] for a score unless the source is Gaussian and independent of the data;
    /// [`PathError::Target`] and [`PathError::InfiniteWeight`] where target or weight is infinite at one of the times;
    /// [`PathError::Time`] outside [0, 1].
    ///
    /// ```
    /// use advect_paths::{AffinePath, PathError, Prediction, SourceLaw, TimeLaw, UniformTime, VelocityWeighting, Vp};
    ///
    /// let path = AffinePath::new(Vp::default(), SourceLaw::GaussianIndependent);
    /// let check = |law: UniformTime| {
    ///     path.trainable(Prediction::Velocity, &VelocityWeighting::new(), law.quantile(0.0), law.quantile(1.0))
    /// };
    /// // d sigma / dt of the VP path is infinite at t = 1.
    /// assert_eq!(check(UniformTime::new()), Err(PathError::Target { target: Prediction::Velocity, t: 1.0 }));
    /// assert_eq!(check(UniformTime::clipped(1e-3)?), Ok(()));
    /// # Ok::<(), PathError>(())
    /// ```
    pub fn trainable(
        &self,
        prediction: Prediction,
        weighting: &impl Weighting,
        from: f64,
        to: f64,
    ) -> Result<(), PathError> {
        self.source.permits(prediction, prediction)?;
        for t in [from, to] {
            if !(0.0..=1.0).contains(&t) {
                return Err(PathError::Time { t });
            }
            let rates = Rates::at(&self.schedule, t);
            // A score is trained as the noise, whose target is always finite.
            let carried = if prediction == Prediction::Score { Prediction::Noise } else { prediction };
            let (on_data, on_noise) = rates.row(carried);
            if !(on_data.is_finite() && on_noise.is_finite()) {
                return Err(PathError::Target { target: prediction, t });
            }
            if !weight_on(carried, &rates.c, weighting).is_finite() {
                return Err(PathError::InfiniteWeight { have: prediction, t });
            }
        }
        Ok(())
    }
}

impl<S: Schedule, const D: usize> Path<D> for AffinePath<S> {
    fn sample(&self, noise: Tensor<D>, data: Tensor<D>, times: &Times) -> Result<PathSample<D>, PathError> {
        if noise.dims() != data.dims() {
            return Err(PathError::Shape { what: "the noise", got: noise.dims().into(), expected: data.dims().into() });
        }
        let given = match times {
            Times::Shared(t) => std::slice::from_ref(t),
            Times::Each(times) if times.len() == data.dims()[0] => times,
            Times::Each(times) => return Err(PathError::Rows { rows: data.dims()[0], times: times.len() }),
        };
        if let Some(&t) = given.iter().find(|t| !(0.0..=1.0).contains(*t)) {
            return Err(PathError::Time { t });
        }
        let rates = given.iter().map(|&t| Rates::at(&self.schedule, t)).collect();
        let mut sample = PathSample { x: data.clone(), noise, data, times: times.clone(), source: self.source, rates };
        sample.x = sample.linear(|c| (c.alpha, c.sigma));
        Ok(sample)
    }
}

/// Points of a path, with all that a regression target is made of.
///
/// # Shapes
/// - `x`, `noise`, `data`: `[batch, ...]`, equal
#[derive(Debug, Clone)]
pub struct PathSample<const D: usize> {
    /// x_t, the input of the network.
    pub x: Tensor<D>,
    /// x_0.
    pub noise: Tensor<D>,
    /// x_1.
    pub data: Tensor<D>,
    /// t, shared or one a row.
    pub times: Times,
    /// The law of the pairs.
    pub source: SourceLaw,
    /// One a row, or one for all where the time is shared.
    rates: Vec<Rates>,
}

impl<const D: usize> PathSample<D> {
    /// What a network with the given prediction should have said: the regression target whose conditional mean given
    /// x_t is that prediction.
    ///
    /// # Shapes
    /// - output: `[batch, ...]`
    ///
    /// # Errors
    /// [`PathError::Target`] where the target is infinite (score at t = 1, velocity at t = 1 of VP and LinearVP);
    /// [`PathError::NoScore`] for a score unless the source is Gaussian and independent of the data.
    pub fn target(&self, prediction: Prediction) -> Result<Tensor<D>, PathError> {
        self.source.permits(prediction, prediction)?;
        let row = |c: &Coefficients| match prediction {
            Prediction::Velocity => (c.d_alpha, c.d_sigma),
            Prediction::Score => (0.0, -1.0 / c.sigma),
            Prediction::Noise => (0.0, 1.0),
            Prediction::Data => (1.0, 0.0),
            Prediction::V => (-c.sigma, c.alpha),
        };
        let infinite = |rates: &Rates| {
            let (on_data, on_noise) = row(&rates.c);
            !(on_data.is_finite() && on_noise.is_finite())
        };
        if let Some(index) = self.rates.iter().position(infinite) {
            return Err(PathError::Target { target: prediction, t: self.times.at(index) });
        }
        Ok(match prediction {
            Prediction::Noise => self.noise.clone(),
            Prediction::Data => self.data.clone(),
            Prediction::Velocity | Prediction::Score | Prediction::V => self.linear(row),
        })
    }

    /// One entry a row, or one for all where the time is shared.
    pub(crate) fn rates(&self) -> &[Rates] {
        &self.rates
    }

    /// `on_data x_1 + on_noise x_0`, with factors of each row or of all.
    fn linear(&self, factors: impl Fn(&Coefficients) -> (f64, f64)) -> Tensor<D> {
        let of = |rates: &Rates| factors(&rates.c);
        // Always so where the time is shared, and for a velocity on straight lines. (A factor of 0 then hides what is no number.)
        if let Some(first) = self.rates.first().map(of)
            && self.rates.iter().all(|rates| of(rates) == first)
        {
            return self.data.clone().combine(first.0, &[(first.1, &self.noise)]);
        }
        let (on_data, on_noise): (Vec<f64>, Vec<f64>) = self.rates.iter().map(of).unzip();
        self.data.clone().combine_rows(&on_data, &[(&on_noise, &self.noise)])
    }
}
