//! The coefficients of all tableaus, for their order conditions.

use advect_solvers::{
    BOSH3, DOPRI5, DOPRI8, EULER, EmbeddedTableau, HEUN, HEUN_EULER, MIDPOINT, RALSTON, RK3, RK4, RK38, SSP_RK3, TSIT5,
    Tableau,
};

/// The coefficients of a method, its number of stages forgotten.
#[derive(Clone)]
pub(crate) struct Coefficients {
    pub(crate) name: String,
    pub(crate) a: Vec<Vec<f64>>,
    pub(crate) b: Vec<f64>,
    pub(crate) c: Vec<f64>,
    pub(crate) order: u32,
}

impl Coefficients {
    /// The sizes of the coefficients.
    pub(crate) fn absolute(&self) -> Self {
        let absolute = |row: &Vec<f64>| row.iter().map(|a| a.abs()).collect();
        Self { a: self.a.iter().map(absolute).collect(), b: absolute(&self.b), ..self.clone() }
    }
}

#[derive(Default)]
struct List(Vec<Coefficients>);

impl List {
    fn add<const S: usize>(mut self, name: String, tableau: Tableau<S>) -> Self {
        self.0.push(Coefficients {
            name,
            a: tableau.a.iter().map(|row| row.to_vec()).collect(),
            b: tableau.b.to_vec(),
            c: tableau.c.to_vec(),
            order: tableau.order,
        });
        self
    }

    fn plain<const S: usize>(self, tableau: Tableau<S>) -> Self {
        self.add(tableau.name.into(), tableau)
    }

    fn embedded<const S: usize>(self, method: EmbeddedTableau<S>) -> Self {
        let name = format!("{}, embedded", method.tableau.name);
        self.plain(method.tableau).add(name, method.embedded())
    }
}

/// All tableaus, and the solutions embedded in them.
pub(crate) fn coefficients() -> Vec<Coefficients> {
    let list = List::default().plain(EULER).plain(MIDPOINT).plain(HEUN).plain(RALSTON).plain(RK3).plain(SSP_RK3);
    let list = list.plain(RK4).plain(RK38).embedded(HEUN_EULER).embedded(BOSH3).embedded(DOPRI5);
    list.embedded(TSIT5).embedded(DOPRI8).0
}
