//! The one list of all deterministic methods. A new tableau is one line here.

use advect_solvers::{BOSH3, DOPRI5, EULER, EmbeddedTableau, Field, HEUN, MIDPOINT, RK4, State, Stepper, Tableau};

/// A method, its number of stages forgotten.
pub(crate) struct Method<X> {
    pub(crate) name: String,
    pub(crate) order: u32,
    pub(crate) stepper: Box<dyn Stepper<dyn Field<X>, X>>,
}

/// The coefficients of a method, its number of stages forgotten.
#[derive(Clone)]
pub(crate) struct Coefficients {
    pub(crate) name: String,
    pub(crate) a: Vec<Vec<f64>>,
    pub(crate) b: Vec<f64>,
    pub(crate) c: Vec<f64>,
    pub(crate) order: u32,
}

struct List<X> {
    methods: Vec<Method<X>>,
    coefficients: Vec<Coefficients>,
}

impl<X: State + 'static> List<X> {
    fn add<const S: usize>(&mut self, name: String, tableau: Tableau<S>) {
        self.methods.push(Method {
            name: name.clone(),
            order: tableau.order,
            stepper: Box::new(tableau.stepper::<X>()),
        });
        self.coefficients.push(Coefficients {
            name,
            a: tableau.a.iter().map(|row| row.to_vec()).collect(),
            b: tableau.b.to_vec(),
            c: tableau.c.to_vec(),
            order: tableau.order,
        });
    }

    fn plain<const S: usize>(&mut self, tableau: Tableau<S>) {
        self.add(tableau.name.into(), tableau);
    }

    fn embedded<const S: usize>(&mut self, method: EmbeddedTableau<S>) {
        self.add(method.tableau.name.into(), method.tableau);
        self.add(format!("{}, embedded", method.tableau.name), method.embedded());
        let name = format!("{}, fixed steps of the embedded stepper", method.tableau.name);
        let stepper = Box::new(method.stepper::<X>());
        self.methods.push(Method { name, order: method.tableau.order, stepper });
    }
}

fn list<X: State + 'static>() -> List<X> {
    let mut list = List { methods: Vec::new(), coefficients: Vec::new() };
    list.plain(EULER);
    list.plain(MIDPOINT);
    list.plain(HEUN);
    list.plain(RK4);
    list.embedded(BOSH3);
    list.embedded(DOPRI5);
    list
}

/// All methods as steppers.
pub(crate) fn all<X: State + 'static>() -> Vec<Method<X>> {
    list().methods
}

/// All methods as coefficients.
pub(crate) fn coefficients() -> Vec<Coefficients> {
    list::<f64>().coefficients
}
