//! The list of grids, the table made of it, that no rule is missing, and ends of one's own.

use advect_diffusion::{
    DiffusionError, GridRule, Karras, NamedGrid, SigmaRange, Spacing, Uniform, grid_table, named_grids,
};
use advect_paths::{Cosine, Linear, Schedule, Vp};

fn rules() -> Vec<GridRule> {
    named_grids(SigmaRange::UNIT_DATA).iter().map(|grid| grid.rule).collect()
}

#[test]
fn the_table_is_the_list() {
    let table = grid_table(rules());
    assert!(table == include_str!("../../src/grids.md"), "src/grids.md should be:\n{table}");
}

#[test]
fn every_rule_is_listed() {
    // A wrapper, the line of a list, and the one that needs the table of a model.
    let others = ["WithoutLast", "NamedGrid", "DdpmSpacing"];
    let list = include_str!("../../src/grid/catalog.rs");
    let list = list.split_once("pub fn named_grids").unwrap().1;
    let mut seen = 0;
    for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/grid")).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        for (at, _) in text.match_indices(" Spacing for ") {
            let name = &text[at + " Spacing for ".len()..];
            let name = &name[..name.find(|c: char| !c.is_alphanumeric()).unwrap()];
            // References and boxes have no name of their own.
            if !["", "Box"].contains(&name) {
                assert!(list.contains(name) || others.contains(&name), "{name} is not in the list of catalog.rs");
                seen += 1;
            }
        }
    }
    assert_eq!(seen, 12, "rules found in src/grid");
    let mut names: Vec<_> = rules().into_iter().map(|rule| rule.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 9, "every name once: {names:?}");
}

#[test]
fn by_name_the_points_are_those_of_the_rule_and_the_ends_those_asked_for() {
    let vp = Vp::default();
    for (path, schedule) in [("linear", &Linear as &dyn Schedule), ("cosine", &Cosine), ("vp", &vp)] {
        for grid in named_grids(SigmaRange::UNIT_DATA) {
            let name = grid.rule.name;
            if (path, name) == ("vp", "shift-3") {
                // Three times its noise levels are more than the path of VP begins with.
                assert!(grid.grid(schedule, 9).is_err());
                continue;
            }
            for steps in [1, 2, 9] {
                let own = grid.grid(schedule, steps).unwrap();
                let points = grid.between(schedule, steps, 1e-4, 0.9999).unwrap();
                assert_eq!((points.start(), points.end(), points.steps()), (1e-4, 0.9999, steps), "{name}, {path}");
                assert_eq!(own.points()[1..steps], points.points()[1..steps], "{name}, {path}");
            }
        }
    }
    // On the linear path sigma / alpha = (1 - t) / t: Karras' second of three levels between 20 and 0.02, by hand.
    let middle = ((20.0_f64.powf(1.0 / 7.0) + 0.02_f64.powf(1.0 / 7.0)) / 2.0).powi(7);
    let karras = named_grids(SigmaRange::UNIT_DATA).into_iter().find(|grid| grid.rule.name == "karras").unwrap();
    let points = karras.between(&Linear, 3, 0.0, 1.0).unwrap();
    assert!((points.points()[1] - 1.0 / (1.0 + middle)).abs() < 1e-12, "{:?}", points.points());
    assert!((points.points()[2] - 1.0 / 1.02).abs() < 1e-12, "{:?}", points.points());
}

#[test]
fn ends_that_do_not_fit_are_refused() {
    let rule = rules()[0];
    let grid = |spacing: Karras| NamedGrid::new(rule, spacing);
    for (start, end) in [(0.1, 1.0), (0.0, 0.5)] {
        let error = grid(Karras::EDM).between(&Linear, 8, start, end).unwrap_err();
        assert!(matches!(error, DiffusionError::Setting { name: "t", .. }), "{error}");
    }
    let uniform = NamedGrid::new(rule, Uniform::FULL);
    for (start, end) in [(-0.1, 1.0), (0.5, 0.5), (0.0, 1.1), (f64::NAN, 1.0)] {
        assert!(uniform.between(&Linear, 1, start, end).is_err(), "{start} {end}");
    }
    assert!(uniform.between(&Linear, 0, 0.0, 1.0).is_err());
}
