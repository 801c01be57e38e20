//! The lists of methods and the tables made of them.

use advect_solvers::{Field, method_table, ode_methods};

#[test]
fn the_table_in_the_documentation_is_the_list() {
    let table = method_table(ode_methods::<dyn Field<f64>, f64>().into_iter().map(|entry| entry.method));
    assert!(table == include_str!("../../src/ode_methods.md"), "src/ode_methods.md should be:\n{table}");
}
