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

#[test]
fn names_are_unique_and_in_kebab_case() {
    let ode = ode_methods::<dyn Field<f64>, f64>().into_iter().map(|entry| entry.method.name);
    let symplectic = symplectic_methods::<Plain, Plain, f64>().into_iter().map(|entry| entry.method.name);
    let mut names: Vec<&str> = ode.chain(symplectic).collect();
    assert!(names.iter().all(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')));
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}

/// Steppers that are in no list under their own name.
const NOT_IN_A_LIST: [(&str, &str); 12] = [
    ("&mut", "a stepper by reference"),
    ("Box", "a stepper in a box"),
    ("RungeKutta", "made from a Tableau, which is in a list"),
    ("EmbeddedRungeKutta", "made from an EmbeddedTableau, which is in a list"),
    ("Splitting", "made from a Composition, which is in a list"),
    ("Sra", "made from its coefficients, which are in a list"),
    ("Sri", "made from its coefficients, which are in a list"),
    ("Adaptive", "an adapter: step control"),
    ("AdaptiveRows", "an adapter: step control"),
    ("StepDoubling", "an adapter: step control"),
    ("Hermite", "an adapter: dense output"),
    ("WithEvents", "an adapter: events"),
];

/// The sources of the crate by module, and those of them together that hold a list.
fn sources() -> (Vec<(String, String)>, String) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
    let read = |file: std::io::Result<std::fs::DirEntry>| {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        (path.extension().unwrap() == "rs").then(|| (name, std::fs::read_to_string(path).unwrap()))
    };
    let sources: Vec<_> = std::fs::read_dir(folder).unwrap().filter_map(read).collect();
    let lists = sources.iter().filter(|(_, text)| text.contains(" Entry::new(")).map(|(_, text)| text.as_str());
    let lists = lists.collect();
    (sources, lists)
}

/// The types that implement `Stepper` in a source.
fn steppers(text: &str) -> Vec<String> {
    let implementation = |code: &str| {
        let head = code.split('{').next()?.replace('\n', " ").replace("->", "");
        // What stands after the generics of the implementation.
        let mut depth = 0;
        let end = head.find(|c| {
            depth += i32::from(c == '<') - i32::from(c == '>');
            depth == 0
        })?;
        let (_, of) = head[end + 1..].trim().strip_prefix("Stepper<")?.split_once("> for ")?;
        Some(of.split(['<', ' ']).next()?.to_owned())
    };
    text.split("\nimpl").skip(1).filter_map(implementation).collect()
}

#[test]
fn no_public_stepper_is_missing_from_the_lists() {
    let (sources, lists) = sources();
    let found: Vec<String> = sources.iter().flat_map(|(_, text)| steppers(text)).collect();
    // The scan sees what it should see.
    for known in ["RungeKutta", "AdamsBashforth", "AdamsBashforthMoulton", "Splitting", "Adaptive", "&mut"] {
        assert!(found.iter().any(|name| name == known), "{known} was not found in {found:?}");
    }
    for name in found {
        let listed = lists.contains(&format!(" {name}::")) || NOT_IN_A_LIST.iter().any(|(other, _)| *other == name);
        assert!(listed, "the stepper {name} is in no list of methods, see src/catalog.rs");
    }
}

#[test]
fn no_public_coefficients_are_missing_from_the_lists() {
    let (sources, lists) = sources();
    let mut found = 0;
    for (module, text) in &sources {
        for line in text.lines() {
            if let Some((name, of)) = line.strip_prefix("pub const ").and_then(|line| line.split_once(": ")) {
                found += 1;
                assert!(lists.contains(&format!(" {name}.stepper(")), "{name} in {module}.rs is in no list: {of}");
            }
            if let Some((name, _)) = line.strip_prefix("pub(crate) const ").and_then(|l| l.split_once(": Method =")) {
                assert!(lists.contains(&format!("{module}::{name},")), "{module}::{name} is in no list");
            }
        }
    }
    assert!(found >= 15, "{found} constants: does the test still see them?");
}
