use crate::RowProducts;
use crate::contrast::{Contrast, bent};
use crate::error::{GuidanceError, checked};
use crate::guided::mix;
use crate::products::Factors;
use advect_core::{Field, RowField, Times};

/// Guidance whose rows keep the spread of the strong field: CFG rescale.
///
/// Lin et al., 2024, "Common Diffusion Noise Schedules and Sample Steps are Flawed", equations 15 and 16: each row of
/// the guided output is multiplied by `phi std(strong) / std(guided) + 1 - phi`, std over the elements of the row. For
/// weights that wash images out or burn them in; the paper uses phi = 0.7 on the v-prediction, and on velocities and
/// noises it serves as well. A row of one element has no spread and stays as it is.
///
/// Evaluations: those of `guided`; one (of the strong field) where w = 1, two elsewhere, w = 0 included.
///
/// ```
/// use advect_core::{Field, Times, shared};
/// use advect_guidance::{Guided, Rescaled, constant};
/// let strong = shared(|_x: [f64; 2], _t: f64| [1.0, -1.0]);
/// let weak = shared(|_x: [f64; 2], _t: f64| [0.0, 0.0]);
/// let guided = Rescaled::new(Guided { strong, weak, scale: constant(3.0) }, 1.0)?;
/// assert_eq!(guided.eval([0.0, 0.0], &Times::Shared(0.5)), [1.0, -1.0]); // not [3, -3]
/// # Ok::<(), advect_guidance::GuidanceError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Rescaled<C> {
    guided: C,
    phi: f64,
}

impl<C> Rescaled<C> {
    /// `phi` = 0 leaves the guidance as it is, 1 restores the spread in full.
    ///
    /// # Errors
    /// [`GuidanceError::Parameter`] if `phi` is not in [0, 1].
    pub fn new(guided: C, phi: f64) -> Result<Self, GuidanceError> {
        let phi = checked("phi", phi, "a share in [0, 1], such as 0.7", (0.0..=1.0).contains(&phi))?;
        Ok(Self { guided, phi })
    }
}

impl<X: RowProducts, C: Contrast<X>> Field<X> for Rescaled<C> {
    fn eval(&self, x: X, t: &Times) -> X {
        bent(&self.guided, x, t, |weight, strong, weak| {
            let guided = mix(&weight, strong.clone(), weak);
            let variance = |x: X| {
                let x = x.centered();
                x.row_dot(&x)
            };
            let ratio = variance(strong).ratio(&variance(guided.clone()), 1.0).sqrt();
            guided.times(&ratio.affine(self.phi, 1.0 - self.phi))
        })
    }
}

impl<X: RowProducts, C: Contrast<X> + RowField<X>> RowField<X> for Rescaled<C> {
    fn select(&self, rows: &[usize]) -> Self {
        Self { guided: self.guided.select(rows), phi: self.phi }
    }
}
