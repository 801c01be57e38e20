//! The lists of methods, the tables made of them, and that no stepper is missing.

use crate::problems::Law;
use advect_diffusion::{Denoiser, diffusion_methods, diffusion_sde_methods, few_step_methods};
use advect_solvers::{Method, method_table};

fn assert_table(methods: Vec<Method>, written: &str, file: &str) {
    let table = method_table(methods);
    assert!(table == written, "src/{file} should be:\n{table}");
}

fn deterministic() -> Vec<Method> {
    diffusion_methods::<dyn Denoiser<f64>, f64>().into_iter().map(|entry| entry.method).collect()
}

fn stochastic() -> Vec<Method> {
    let noise = crate::problems::Basis::default();
    diffusion_sde_methods::<dyn Denoiser<Law>, Law, _>(noise).into_iter().map(|entry| entry.method).collect()
}

fn few_step() -> Vec<Method> {
    let noise = crate::problems::Basis::default();
    few_step_methods::<dyn Denoiser<Law>, Law, _>(noise).into_iter().map(|entry| entry.method).collect()
}

#[test]
fn the_table_of_few_step_samplers_is_the_list() {
    assert_table(few_step(), include_str!("../../src/few_step_methods.md"), "few_step_methods.md");
}

#[test]
fn the_table_of_deterministic_samplers_is_the_list() {
    assert_table(deterministic(), include_str!("../../src/diffusion_methods.md"), "diffusion_methods.md");
}

#[test]
fn the_table_of_stochastic_samplers_is_the_list() {
    assert_table(stochastic(), include_str!("../../src/diffusion_sde_methods.md"), "diffusion_sde_methods.md");
}

#[test]
fn every_stepper_is_listed() {
    // Wrappers of other samplers, the one that needs a tolerance, and the one that needs a pilot batch.
    let others = ["Ended", "Restarted", "LangevinCorrected", "AdaptiveDpm", "FittedStepper"];
    let list = include_str!("../../src/catalog.rs");
    let mut seen = 0;
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
    let files = |folder: &str| std::fs::read_dir(format!("{source}/{folder}")).unwrap().map(|f| f.unwrap().path());
    for file in files("").chain(files("grid")).filter(|path| path.is_file()) {
        let text = std::fs::read_to_string(file).unwrap();
        for (at, _) in text.match_indices("Stepper<G, X> for ") {
            let name = &text[at + "Stepper<G, X> for ".len()..];
            let name = &name[..name.find(|c: char| !c.is_alphanumeric()).unwrap()];
            let listed = list.split_once("pub fn").unwrap().1.contains(&format!("{name}::"))
                || list.contains(&format!("|| {name})"));
            assert!(listed || others.contains(&name), "{name} is not in the list of catalog.rs");
            seen += 1;
        }
    }
    assert_eq!(seen, 25, "steppers found in src/");
    let mut names: Vec<_> =
        deterministic().into_iter().chain(stochastic()).chain(few_step()).map(|method| method.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 28, "every name once: {names:?}");
}
