//! The solvers that the program knows: the catalogs of the libraries in one list, and nothing besides.

use crate::error::CliError;
use crate::presets;
use crate::say::Say;
use advect::core::{SpaceTimeLevyArea, WhiteNoise};
use advect::diffusion::{Denoiser, diffusion_methods, diffusion_sde_methods, few_step_methods};
use advect::prelude::*;
use advect::solvers::{DOPRI8, EmbeddedTableau, Entry, Family, HEUN_EULER, Method, Stepper, ode_methods, sde_methods};
use serde::{Deserialize, Deserializer, Serialize, de::Error};
use serde_json::json;
use std::fmt;

/// A velocity field whose kind is known at run time alone.
pub(crate) type Velocity<'a, X> = dyn Field<X> + 'a;
/// The SDE of a model, likewise.
pub(crate) type Diffusion<'a, X> = Sde<Box<dyn Field<X> + 'a>, Box<dyn Fn(f64) -> f64 + 'a>>;
/// A model as the samplers of diffusion see it, likewise.
pub(crate) type Model<'a, X> = dyn Denoiser<X> + 'a;

/// A solver of the list, by what it integrates.
pub(crate) enum Solver<'a, X> {
    Velocity(Entry<Velocity<'a, X>, X>),
    Sde(Entry<Diffusion<'a, X>, X>),
    Model(Entry<Model<'a, X>, X>),
}

impl<X> Solver<'_, X> {
    pub(crate) fn method(&self) -> Method {
        match self {
            Self::Velocity(entry) => entry.method,
            Self::Sde(entry) => entry.method,
            Self::Model(entry) => entry.method,
        }
    }
}

/// All of them. The stochastic ones read copies of `noise`.
pub(crate) fn list<'a, X, B>(noise: &B) -> Vec<Solver<'a, X>>
where
    X: State + 'static,
    B: SpaceTimeLevyArea<X> + Clone + 'static,
{
    let ode = ode_methods().into_iter().map(Solver::Velocity);
    let diffusion = diffusion_methods().into_iter().map(Solver::Model);
    let stochastic = diffusion_sde_methods(noise.clone()).into_iter().map(Solver::Model);
    let few_step = few_step_methods(noise.clone()).into_iter().map(Solver::Model);
    let sde = sde_methods(noise).into_iter().map(Solver::Sde);
    ode.chain(diffusion).chain(stochastic).chain(sde).chain(few_step).collect()
}

/// What is known of each.
pub(crate) fn methods() -> Vec<Method> {
    let list: Vec<Solver<'_, f64>> = list(&WhiteNoise::new(0, Vec::new()));
    list.iter().map(Solver::method).collect()
}

/// The name of a solver of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct SolverName(&'static str);

impl SolverName {
    /// Those of the presets.
    pub(crate) const HEUN: Self = Self("heun");
    pub(crate) const MIDPOINT: Self = Self("midpoint");

    /// The solver of this name.
    pub(crate) fn find(name: &str) -> Result<Self, String> {
        let methods = methods();
        let found = methods.iter().find(|method| method.name == name).map(|method| Self(method.name));
        found.ok_or_else(|| {
            let hint = presets::suggest(name, methods.iter().map(|method| method.name));
            format!("unknown solver `{name}`{hint}; `advect solvers` lists them")
        })
    }

    /// The solver itself.
    pub(crate) fn of<X>(self, solvers: Vec<Solver<'_, X>>) -> Result<Solver<'_, X>, CliError> {
        let found = solvers.into_iter().find(|solver| solver.method().name == self.0);
        found.ok_or_else(|| CliError::usage(format!("unknown solver `{self}`")))
    }

    fn family(self) -> Option<Family> {
        methods().iter().find(|method| method.name == self.0).map(|method| method.family)
    }

    /// Whether it can choose its own steps.
    pub(crate) fn is_embedded(self) -> bool {
        self.family() == Some(Family::Embedded)
    }

    /// Whether it adds noise on its way, and so needs the score of the model.
    pub(crate) fn is_stochastic(self) -> bool {
        matches!(self.family(), Some(Family::Sde | Family::DiffusionSde | Family::FewStep))
    }
}

impl fmt::Display for SolverName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl<'de> Deserialize<'de> for SolverName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::find(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// The solvers with an error estimate, under step control row by row, so that results do not depend on the batch.
pub(crate) fn controlled<G, X>(name: SolverName, tolerance: Tolerance) -> Option<Box<dyn Stepper<G, X>>>
where
    G: RowField<X>,
    X: Batched + 'static,
{
    fn under<const S: usize, G, X>(tableau: EmbeddedTableau<S>, tolerance: Tolerance) -> Box<dyn Stepper<G, X>>
    where
        G: RowField<X>,
        X: Batched + 'static,
    {
        Box::new(AdaptiveRows::new(tableau.stepper(), tolerance, PiController::standard()))
    }
    // The list holds steppers of fixed steps; a test compares these with its names.
    Some(match name.0 {
        "heun-euler" => under(HEUN_EULER, tolerance),
        "bosh3" => under(BOSH3, tolerance),
        "dopri5" => under(DOPRI5, tolerance),
        "tsit5" => under(TSIT5, tolerance),
        "dopri8" => under(DOPRI8, tolerance),
        _ => return None,
    })
}

/// `advect solvers`.
pub(crate) fn run(say: Say) {
    let methods = methods();
    let width = methods.iter().map(|method| method.name.len()).max().unwrap_or(0);
    if say == Say::Text {
        let head = format!("{:width$}  {:13}  order  evaluations  use it", "solver", "family");
        say.event(&head, json!(null));
    }
    for method in methods {
        let Method { name, title, order, weak_order, evaluations, source, use_when, .. } = method;
        let family = family(method.family);
        say.event(
            &format!("{name:width$}  {family:13}  {order:5}  {evaluations:11}  {use_when}"),
            json!({"name": name, "title": title, "family": family, "order": order, "weak_order": weak_order,
                   "evaluations": evaluations, "use_when": use_when, "source": source}),
        );
    }
}

fn family(family: Family) -> &'static str {
    match family {
        Family::Fixed => "ODE",
        Family::Embedded => "ODE, adaptive",
        Family::Multistep => "ODE, history",
        Family::Sde => "SDE",
        Family::Diffusion => "diffusion",
        Family::DiffusionSde => "diffusion SDE",
        Family::FewStep => "few steps",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_name_is_one_solver() {
        let names: Vec<&str> = methods().iter().map(|method| method.name).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
        for name in [SolverName::HEUN, SolverName::MIDPOINT] {
            assert_eq!(SolverName::find(name.0), Ok(name));
        }
    }

    #[test]
    fn whatever_has_an_error_estimate_can_choose_its_steps() {
        type Still = advect::core::Unconditional<fn(f64, &Times) -> f64>;
        for method in methods() {
            let tolerance = Tolerance::new(1e-3, 1e-3).ok();
            let stepper = tolerance.and_then(|tolerance| controlled::<Still, f64>(SolverName(method.name), tolerance));
            assert_eq!(stepper.is_some(), method.family == Family::Embedded, "{}", method.name);
        }
    }
}
