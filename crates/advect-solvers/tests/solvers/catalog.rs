//! The lists of methods and the tables made of them.

use advect_solvers::{Field, Method, Times, method_table, ode_methods, symplectic_methods};

pub(crate) type Plain = fn(f64, &Times) -> f64;

fn assert_table(methods: Vec<Method>, written: &str, file: &str) {
    let table = method_table(methods);
    assert!(table == written, "src/{file} should be:\n{table}");
}

#[test]
fn the_tables_in_the_documentation_are_the_lists() {
    let ode = ode_methods::<dyn Field<f64>, f64>().into_iter().map(|entry| entry.method).collect();
    assert_table(ode, include_str!("../../src/ode_methods.md"), "ode_methods.md");
}

#[test]
fn the_table_of_symplectic_methods_is_the_list() {
    let symplectic = symplectic_methods::<Plain, Plain, f64>().into_iter().map(|entry| entry.method).collect();
    assert_table(symplectic, include_str!("../../src/symplectic_methods.md"), "symplectic_methods.md");
}
