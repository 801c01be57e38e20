use crate::contrast::{Contrast, blend};
use crate::guided::mix;
use advect_core::{Field, RowField, State, Times};

/// Skip-layer guidance (SLG): away from the same network without some of its layers, on top of other guidance.
///
/// `guided + s(t) (strong - skipped)`, as published with Stable Diffusion 3.5; Hyung et al., 2025, "Spatiotemporal Skip
/// Guidance", and Karras et al., 2024 (autoguidance) give the reason: the errors of a network that was weakened are
/// those of the network, but larger. `skipped` is the strong field evaluated with layers left out: any closure, such as
/// one that calls the `forward_probed` of a DiT or MM-DiT with `Probe { skip: vec![7, 8, 9], .. }`. Layers of the middle and a limited interval (`s` = 0
/// elsewhere) are usual. Alone, without other guidance, it is `Guided { strong, weak: skipped, scale: 1 + s }`.
///
/// Evaluations: those of `guided` where s = 0; one more (of `skipped`) elsewhere.
#[derive(Debug, Clone)]
pub struct LayerSkipped<C, K, G> {
    /// A [`Guided`](crate::Guided) or [`Paired`](crate::Paired).
    pub guided: C,
    /// The strong field with layers left out.
    pub skipped: K,
    /// The scale at each time: 0 switches it off.
    pub scale: G,
}

impl<X: State, C: Contrast<X>, K: Field<X>, G: Fn(f64) -> f64> Field<X> for LayerSkipped<C, K, G> {
    fn eval(&self, x: X, t: &Times) -> X {
        let scale = t.map(&self.scale);
        if scale.range() == (0.0, 0.0) {
            return self.guided.eval(x, t);
        }
        let skipped = self.skipped.eval(x.clone(), t);
        let weight = self.guided.weight(t);
        let (guided, strong) = if weight.range() == (1.0, 1.0) {
            let strong = self.guided.strong(x, t);
            (strong.clone(), strong)
        } else {
            let (strong, weak) = self.guided.both(x, t);
            (mix(&weight, strong.clone(), weak), strong)
        };
        let difference = strong.combine(1.0, &[(-1.0, &skipped)]);
        blend(guided, &Times::Shared(1.0), &difference, &scale)
    }
}

impl<X, C, K, G> RowField<X> for LayerSkipped<C, K, G>
where
    X: State,
    C: Contrast<X> + RowField<X>,
    K: RowField<X>,
    G: Fn(f64) -> f64 + Clone,
{
    fn select(&self, rows: &[usize]) -> Self {
        Self { guided: self.guided.select(rows), skipped: self.skipped.select(rows), scale: self.scale.clone() }
    }
}
