use crate::{AdamsBashforth, AdamsBashforthMoulton, Separable, Stepper};
use crate::{BOSH3, DOPRI5, DOPRI8, EULER, HEUN, HEUN_EULER, LEAPFROG, MIDPOINT, RALSTON, RK3, RK4, RK38};
use crate::{SSP_RK3, TSIT5, YOSHIDA4};
use crate::{adams_bashforth, adams_bashforth_moulton, bosh3, dopri5, dopri8, euler, heun, heun_euler, leapfrog};
use crate::{midpoint, ralston, rk3, rk4, rk38, ssp_rk3, tsit5, yoshida4};
use advect_core::{Field, State};
use std::fmt::Write;

/// What a table says about a method: of this crate, of `advect-diffusion`, of your own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Method {
    /// The name of the method in a program, in kebab-case.
    pub name: &'static str,
    /// The name of the method in a text.
    pub title: &'static str,
    /// What kind of method it is.
    pub family: Family,
    /// The order: deterministic, or strong where there is noise.
    pub order: f64,
    /// The weak order, where there is noise.
    pub weak_order: Option<f64>,
    /// Evaluations of the generator a step, in the long run.
    pub evaluations: f64,
    /// Paper and equation.
    pub source: &'static str,
    /// When to use it, in one phrase.
    pub use_when: &'static str,
}

/// Kinds of methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Family {
    /// One step, no error estimate: the steps are those of the grid.
    Fixed,
    /// With an error estimate, so that [`Adaptive`](crate::Adaptive) can control the steps. In the list: fixed steps.
    Embedded,
    /// Uses slopes of earlier steps again.
    Multistep,
    /// Keeps the symplectic form of a Hamiltonian system.
    Symplectic,
    /// For stochastic differential equations.
    Sde,
    /// For Langevin dynamics.
    Langevin,
    /// For diffusion models, without noise.
    Diffusion,
    /// For diffusion models, with noise.
    DiffusionSde,
    /// For models distilled to jump, such as consistency models; of no order on others.
    FewStep,
}

/// A method and how to make its stepper: one line of a list.
pub struct Entry<G: ?Sized, X> {
    /// What is known of it.
    pub method: Method,
    make: Box<dyn Fn() -> Box<dyn Stepper<G, X>>>,
}

impl<G: ?Sized, X> Entry<G, X> {
    /// A method whose steppers `make` makes.
    #[must_use]
    pub fn new<S: Stepper<G, X> + 'static>(method: Method, make: impl Fn() -> S + 'static) -> Self {
        Self { method, make: Box::new(move || Box::new(make())) }
    }

    /// A new stepper of this method.
    #[must_use]
    pub fn stepper(&self) -> Box<dyn Stepper<G, X>> {
        (self.make)()
    }
}

impl<G: ?Sized, X> std::fmt::Debug for Entry<G, X> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry").field("method", &self.method).finish_non_exhaustive()
    }
}

/// Every method of this crate that integrates a [`Field`]: the list behind the table, the order tests and programs.
///
/// Those with an error estimate stand here as steppers of fixed steps. Symplectic methods move pairs under a generator
/// of their own and have their own list.
///
/// ```
/// use advect_solvers::{Field, TimeGrid, ode_methods, shared, solve};
///
/// let decay = shared(|x: f64, _t: f64| -x);
/// for entry in ode_methods::<dyn Field<f64>, f64>() {
///     let end = solve(&decay as &dyn Field<f64>, entry.stepper(), 1.0, &TimeGrid::uniform(0.0, 1.0, 100)?)?;
///     assert!((end - (-1.0_f64).exp()).abs() < 0.01, "{}", entry.method.title);
/// }
/// # Ok::<(), advect_solvers::SolveError>(())
/// ```
#[must_use]
pub fn ode_methods<G: Field<X> + ?Sized, X: State + 'static>() -> Vec<Entry<G, X>> {
    vec![
        Entry::new(euler::METHOD, || EULER.stepper()),
        Entry::new(midpoint::METHOD, || MIDPOINT.stepper()),
        Entry::new(heun::METHOD, || HEUN.stepper()),
        Entry::new(ralston::METHOD, || RALSTON.stepper()),
        Entry::new(rk3::METHOD, || RK3.stepper()),
        Entry::new(ssp_rk3::METHOD, || SSP_RK3.stepper()),
        Entry::new(rk4::METHOD, || RK4.stepper()),
        Entry::new(rk38::METHOD, || RK38.stepper()),
        Entry::new(heun_euler::METHOD, || HEUN_EULER.stepper()),
        Entry::new(bosh3::METHOD, || BOSH3.stepper()),
        Entry::new(dopri5::METHOD, || DOPRI5.stepper()),
        Entry::new(tsit5::METHOD, || TSIT5.stepper()),
        Entry::new(dopri8::METHOD, || DOPRI8.stepper()),
        Entry::new(adams_bashforth::METHODS[0], AdamsBashforth::<2, X>::new),
        Entry::new(adams_bashforth::METHODS[1], AdamsBashforth::<3, X>::new),
        Entry::new(adams_bashforth::METHODS[2], AdamsBashforth::<4, X>::new),
        Entry::new(adams_bashforth_moulton::METHODS[0], AdamsBashforthMoulton::<2, X>::new),
        Entry::new(adams_bashforth_moulton::METHODS[1], AdamsBashforthMoulton::<3, X>::new),
        Entry::new(adams_bashforth_moulton::METHODS[2], AdamsBashforthMoulton::<4, X>::new),
    ]
}

/// Every method of this crate for a [`Separable`] system, on pairs `(q, p)`.
///
/// Evaluations are those of the force; there are as many of the velocity.
#[must_use]
pub fn symplectic_methods<V: Field<X>, F: Field<X>, X: State + 'static>() -> Vec<Entry<Separable<V, F>, (X, X)>> {
    vec![Entry::new(leapfrog::METHOD, || LEAPFROG.stepper()), Entry::new(yoshida4::METHOD, || YOSHIDA4.stepper())]
}

/// A Markdown table of methods, in the order given: the one in the documentation of a crate.
#[must_use]
pub fn method_table(methods: impl IntoIterator<Item = Method>) -> String {
    let methods: Vec<Method> = methods.into_iter().collect();
    let weak = methods.iter().any(|method| method.weak_order.is_some());
    let (strong, head, rule) = if weak { ("strong order", " weak order |", " --- |") } else { ("order", "", "") };
    let mut table = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(table, "| name | method | {strong} |{head} evaluations a step | use it | source |");
    let _ = writeln!(table, "| --- | --- | --- |{rule} --- | --- | --- |");
    for Method { name, title, order, weak_order, evaluations, source, use_when, .. } in methods {
        let weak = match weak_order {
            Some(order) => format!(" {order} |"),
            None if weak => " |".to_owned(),
            None => String::new(),
        };
        let _ = writeln!(table, "| `{name}` | {title} | {order} |{weak} {evaluations} | {use_when} | {source} |");
    }
    table
}
