use crate::held::Held;
use crate::{Coefficients, Latent, PathError, Schedule};
use advect_core::{Field, RowField, Sde, State, Times};
use burn::tensor::Tensor;

/// A stochastic interpolant: `x_t = alpha x_1 + sigma x_0 + gamma z`, with a latent z ~ N(0, I) of its own.
///
/// Albergo, Boffi & Vanden-Eijnden, 2023, "Stochastic Interpolants", definition 2.1. Source and target are arbitrary,
/// and so is their coupling: the score comes from z, which is independent of both. So what an
/// [`AffinePath`](crate::AffinePath) must refuse after an optimal-transport coupling, a score and its SDEs, is right
/// here at every 0 < t < 1.
///
/// **\[SF\]2M and the Schroedinger bridge** (Tong et al., 2023): [`Linear`](crate::Linear) with a
/// [`BrownianBridge`](crate::BrownianBridge) of size sigma, on pairs from entropic optimal transport with the
/// regularization `2 sigma^2` of the squared distance. The SDE with diffusion `g = sigma` is then the Schroedinger
/// bridge between the two laws, that with g = 0 its flow.
///
/// Two networks (or one with two heads) learn it: a [`VelocityHead`] and a [`ScoreHead`]; see
/// [`InterpolantPredictor`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interpolant<S, L> {
    /// How the pair is mixed; only its alpha and sigma matter here, for a source of any law.
    pub schedule: S,
    /// How much latent noise there is.
    pub latent: L,
}

impl<S: Schedule, L: Latent> Interpolant<S, L> {
    /// The interpolant of a schedule and a latent.
    pub fn new(schedule: S, latent: L) -> Self {
        Self { schedule, latent }
    }

    /// The points of the path for pairs of source and data, and latent noise.
    ///
    /// # Shapes
    /// - `source`, `data`, `latent`: `[batch, ...]`, equal; `latent` standard normal
    /// - `times`: shared, or one a row
    ///
    /// # Errors
    /// [`PathError`] if shapes or row counts differ, or a time is outside [0, 1].
    pub fn sample<const D: usize>(
        &self,
        source: Tensor<D>,
        data: Tensor<D>,
        latent: Tensor<D>,
        times: &Times,
    ) -> Result<InterpolantSample<D>, PathError> {
        for (what, tensor) in [("the source", &source), ("the latent", &latent)] {
            if tensor.dims() != data.dims() {
                return Err(PathError::Shape { what, got: tensor.dims().into(), expected: data.dims().into() });
            }
        }
        let given = match times {
            Times::Shared(t) => std::slice::from_ref(t),
            Times::Each(times) if times.len() == data.dims()[0] => times,
            Times::Each(times) => return Err(PathError::Rows { rows: data.dims()[0], times: times.len() }),
        };
        if let Some(&t) = given.iter().find(|t| !(0.0..=1.0).contains(*t)) {
            return Err(PathError::Time { t });
        }
        let moment =
            |&t: &f64| Moment { c: self.schedule.at(t), gamma: self.latent.gamma(t), d_gamma: self.latent.d_gamma(t) };
        let moments = given.iter().map(moment).collect();
        let mut sample = InterpolantSample { x: data.clone(), source, data, latent, times: times.clone(), moments };
        sample.x = sample.linear(|m| [m.c.alpha, m.c.sigma, m.gamma]);
        Ok(sample)
    }
}

/// What a network says about the transport of an [`Interpolant`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VelocityHead {
    /// `b = E[d_alpha x_1 + d_sigma x_0 + d_gamma z | x]`, the velocity of the flow. Infinite targets where d_gamma is.
    Velocity,
    /// `v = E[d_alpha x_1 + d_sigma x_0 | x]`, the part without the latent: `b = v - gamma d_gamma score`. Finite
    /// targets at both ends with every latent.
    MeanVelocity,
}

/// What a network says about the latent of an [`Interpolant`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScoreHead {
    /// `E[z | x]`, the denoiser of Albergo et al.: `-gamma score`. Finite targets at both ends.
    Denoiser,
    /// `grad log p_t(x)`. Its loss is weighted by gamma^2, so that its target is finite too.
    Score,
}

/// The coefficients of an interpolant at one time.
#[derive(Debug, Clone, Copy)]
struct Moment {
    c: Coefficients,
    gamma: f64,
    d_gamma: f64,
}

/// Points of an interpolant, with all that its regression targets are made of.
///
/// # Shapes
/// - `x`, `source`, `data`, `latent`: `[batch, ...]`, equal
#[derive(Debug, Clone)]
pub struct InterpolantSample<const D: usize> {
    /// x_t, the input of the networks.
    pub x: Tensor<D>,
    /// x_0.
    pub source: Tensor<D>,
    /// x_1.
    pub data: Tensor<D>,
    /// z.
    pub latent: Tensor<D>,
    /// t, shared or one a row.
    pub times: Times,
    /// One a row, or one for all where the time is shared.
    moments: Vec<Moment>,
}

impl<const D: usize> InterpolantSample<D> {
    /// The regression target of a velocity head.
    ///
    /// # Shapes
    /// - output: `[batch, ...]`
    ///
    /// # Errors
    /// [`PathError::InterpolantEnd`] where it is infinite: [`VelocityHead::Velocity`] of a Brownian bridge at t = 0 and
    /// 1.
    pub fn velocity(&self, head: VelocityHead) -> Result<Tensor<D>, PathError> {
        let row = |m: &Moment| match head {
            VelocityHead::Velocity => [m.c.d_alpha, m.c.d_sigma, m.d_gamma],
            VelocityHead::MeanVelocity => [m.c.d_alpha, m.c.d_sigma, 0.0],
        };
        for (index, moment) in self.moments.iter().enumerate() {
            if row(moment).iter().any(|c| !c.is_finite()) {
                return Err(PathError::InterpolantEnd { what: "the velocity target", t: self.times.at(index) });
            }
        }
        Ok(self.linear(row))
    }

    /// The mean of `|output - target|^2` over all elements, for a velocity head.
    ///
    /// # Shapes
    /// - `output`: `[batch, ...]`
    /// - result: `[1]`
    ///
    /// # Errors
    /// Those of [`InterpolantSample::velocity`], and [`PathError::Shape`] if the output is not shaped like `x`.
    pub fn velocity_loss(&self, output: Tensor<D>, head: VelocityHead) -> Result<Tensor<1>, PathError> {
        self.fits(&output)?;
        let error = output - self.velocity(head)?;
        Ok((error.clone() * error).mean())
    }

    /// The mean of `|denoiser - z|^2` over all elements, for a score head: with a score, `|gamma score + z|^2`.
    ///
    /// The score's weight gamma^2 is that of Tong et al., 2023 (their lambda^2, whose network says sigma^2/2 score); it
    /// makes the loss finite, and about 1, at both ends.
    ///
    /// # Shapes
    /// - `output`: `[batch, ...]`
    /// - result: `[1]`
    ///
    /// # Errors
    /// [`PathError::Shape`] if the output is not shaped like `x`.
    pub fn score_loss(&self, output: Tensor<D>, head: ScoreHead) -> Result<Tensor<1>, PathError> {
        self.fits(&output)?;
        let denoiser = match head {
            ScoreHead::Denoiser => output,
            ScoreHead::Score => {
                let factors: Vec<f64> = self.moments.iter().map(|m| -m.gamma).collect();
                match self.times {
                    Times::Shared(_) => output.combine(factors[0], &[]),
                    Times::Each(_) => output.combine_rows(&factors, &[]),
                }
            }
        };
        let error = denoiser - self.latent.clone();
        Ok((error.clone() * error).mean())
    }

    fn fits(&self, output: &Tensor<D>) -> Result<(), PathError> {
        if output.dims() == self.x.dims() {
            return Ok(());
        }
        Err(PathError::Shape { what: "the output", got: output.dims().into(), expected: self.x.dims().into() })
    }

    fn linear(&self, row: impl Fn(&Moment) -> [f64; 3]) -> Tensor<D> {
        let column = |part: usize| -> Vec<f64> { self.moments.iter().map(|m| row(m)[part]).collect() };
        let (on_data, on_source, on_latent) = (column(0), column(1), column(2));
        let data = self.data.clone();
        match self.times {
            Times::Shared(_) => data.combine(on_data[0], &[(on_source[0], &self.source), (on_latent[0], &self.latent)]),
            Times::Each(_) => data.combine_rows(&on_data, &[(&on_source, &self.source), (&on_latent, &self.latent)]),
        }
    }
}

/// The two trained heads of an [`Interpolant`], with what they mean: its flow, its score and its SDEs.
///
/// At the ends, where gamma is 0: a mean velocity with a score needs no division and runs from 0 to 1. A denoiser must
/// be divided by gamma, and a velocity's target was infinite there if d_gamma is; stay a little inside.
#[derive(Debug, Clone)]
pub struct InterpolantPredictor<F, H, L> {
    /// The network of the velocity head.
    pub velocity: F,
    /// What it says.
    pub velocity_head: VelocityHead,
    /// The network of the score head.
    pub score: H,
    /// What it says.
    pub score_head: ScoreHead,
    /// The latent they were trained with.
    pub latent: L,
}

/// The diffusion of a flow: none.
type Still = fn(f64) -> f64;

impl<F, H, L: Latent + Clone> InterpolantPredictor<F, H, L> {
    /// The velocity `b` of the flow, between `from` and `to`. With [`VelocityHead::Velocity`] the score head is not
    /// asked.
    ///
    /// # Errors
    /// [`PathError::InterpolantEnd`] or [`PathError::Time`] if an end has no finite value.
    pub fn flow(&self, from: f64, to: f64) -> Result<InterpolantField<'_, F, H, L, Still>, PathError> {
        self.drift(|_| 0.0, from, to)
    }

    /// The SDE with drift `b + g^2/2 score` and diffusion `g`, whose marginals are those of the flow for every `g`.
    ///
    /// Albergo et al., 2023, section 2. Runs from `from` to `to`; running down (`from > to`) the sign of the score
    /// term turns. One evaluation of each head.
    ///
    /// # Errors
    /// [`PathError::InterpolantEnd`] or [`PathError::Time`] if an end has no finite value;
    /// [`PathError::Diffusion`] if `g` is negative or not finite there.
    pub fn sde<G: Fn(f64) -> f64 + Clone>(
        &self,
        g: G,
        from: f64,
        to: f64,
    ) -> Result<Sde<InterpolantField<'_, F, H, L, G>, G>, PathError> {
        Ok(Sde { drift: self.drift(g.clone(), from, to)?, diffusion: g })
    }

    fn drift<G: Fn(f64) -> f64>(
        &self,
        g: G,
        from: f64,
        to: f64,
    ) -> Result<InterpolantField<'_, F, H, L, G>, PathError> {
        let field = InterpolantField {
            velocity: Held::Borrowed(&self.velocity),
            score: Held::Borrowed(&self.score),
            heads: (self.velocity_head, self.score_head),
            latent: self.latent.clone(),
            diffusion: g,
            direction: if to >= from { 1.0 } else { -1.0 },
        };
        for t in [from, to] {
            field.on_score(t)?;
        }
        Ok(field)
    }
}

/// The drift of an interpolant as a field. See [`InterpolantPredictor::sde`].
#[derive(Debug, Clone)]
pub struct InterpolantField<'a, F, H, L, G> {
    velocity: Held<'a, F>,
    score: Held<'a, H>,
    heads: (VelocityHead, ScoreHead),
    latent: L,
    diffusion: G,
    direction: f64,
}

impl<F, H, L: Latent, G: Fn(f64) -> f64> InterpolantField<'_, F, H, L, G> {
    /// The factor on the output of the score head. That on the velocity head is 1.
    fn on_score(&self, t: f64) -> Result<f64, PathError> {
        if !(0.0..=1.0).contains(&t) {
            return Err(PathError::Time { t });
        }
        let g = (self.diffusion)(t);
        if !(g.is_finite() && g >= 0.0) {
            return Err(PathError::Diffusion { t, g });
        }
        let spread = self.direction * g * g / 2.0;
        let infinite = |what| Err(PathError::InterpolantEnd { what, t });
        let on_score = match self.heads.0 {
            // The head has no finite target there, so it was never taught.
            VelocityHead::Velocity if !self.latent.d_gamma(t).is_finite() => return infinite("the velocity"),
            VelocityHead::Velocity => spread,
            VelocityHead::MeanVelocity => spread - self.latent.gamma_d_gamma(t),
        };
        let factor = match self.heads.1 {
            ScoreHead::Score => on_score,
            ScoreHead::Denoiser if on_score == 0.0 => 0.0,
            ScoreHead::Denoiser => -on_score / self.latent.gamma(t),
        };
        if factor.is_finite() { Ok(factor) } else { infinite("the score read off the denoiser") }
    }
}

impl<X, F, H, L, G> Field<X> for InterpolantField<'_, F, H, L, G>
where
    X: State,
    F: Field<X>,
    H: Field<X>,
    L: Latent,
    G: Fn(f64) -> f64,
{
    fn eval(&self, x: X, t: &Times) -> X {
        // A field cannot fail: what has no value is NaN. The ends were checked before the solve.
        let factor = |t: f64| self.on_score(t).unwrap_or(f64::NAN);
        match t {
            Times::Shared(time) => match factor(*time) {
                0.0 => (*self.velocity).eval(x, t),
                factor => {
                    let score = (*self.score).eval(x.clone(), t);
                    (*self.velocity).eval(x, t).combine(1.0, &[(factor, &score)])
                }
            },
            Times::Each(times) => {
                let factors: Vec<f64> = times.iter().map(|&t| factor(t)).collect();
                if factors.iter().all(|&f| f == 0.0) {
                    return (*self.velocity).eval(x, t);
                }
                let score = (*self.score).eval(x.clone(), t);
                (*self.velocity).eval(x, t).combine_rows(&vec![1.0; factors.len()], &[(&factors, &score)])
            }
        }
    }
}

impl<X, F, H, L, G> RowField<X> for InterpolantField<'_, F, H, L, G>
where
    X: State,
    F: RowField<X>,
    H: RowField<X>,
    L: Latent + Clone,
    G: Fn(f64) -> f64 + Clone,
{
    fn select(&self, rows: &[usize]) -> Self {
        Self {
            velocity: Held::Owned((*self.velocity).select(rows)),
            score: Held::Owned((*self.score).select(rows)),
            heads: self.heads,
            latent: self.latent.clone(),
            diffusion: self.diffusion.clone(),
            direction: self.direction,
        }
    }
}
