//! The order conditions of every tableau, as exact sums over rooted trees (Butcher; Hairer, Norsett & Wanner I, II.2).

use crate::methods::{self, Coefficients};
use advect_solvers::{BOSH3, DOPRI5};

/// A rooted tree: its branches.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Tree(Vec<Tree>);

impl Tree {
    fn size(&self) -> usize {
        1 + self.0.iter().map(Self::size).sum::<usize>()
    }

    /// gamma of the literature: size times the densities of the branches.
    fn density(&self) -> f64 {
        self.size() as f64 * self.0.iter().map(Self::density).product::<f64>()
    }

    /// For each stage, the product over branches of sum_j a_ij (weight of branch at j).
    fn stages(&self, method: &Coefficients) -> Vec<f64> {
        let branches: Vec<Vec<f64>> = self.0.iter().map(|branch| branch.stages(method)).collect();
        let sum = |row: &Vec<f64>, branch: &Vec<f64>| row.iter().zip(branch).map(|(a, w)| a * w).sum::<f64>();
        method.a.iter().map(|row| branches.iter().map(|branch| sum(row, branch)).product()).collect()
    }

    /// sum_i b_i (weight at i): 1 / density if the condition holds.
    fn sum(&self, method: &Coefficients) -> f64 {
        method.b.iter().zip(self.stages(method)).map(|(b, w)| b * w).sum()
    }

    /// Whether the condition holds up to the round-off of coefficients of 16 digits: the terms of the sum may be
    /// large and cancel.
    fn holds(&self, method: &Coefficients) -> bool {
        let round_off = 16.0 * f64::EPSILON * self.sum(&method.absolute());
        (self.sum(method) - 1.0 / self.density()).abs() <= round_off
    }
}

/// All rooted trees of each size up to `size`.
fn trees(size: usize) -> Vec<Vec<Tree>> {
    let mut all = vec![vec![], vec![Tree(vec![])]];
    for n in 2..=size {
        let mut found = Vec::new();
        forests(&all, n - 1, &mut vec![], &mut found);
        all.push(found.into_iter().map(Tree).collect());
    }
    all
}

/// All multisets of trees with `left` nodes, in descending order so that each comes once.
fn forests(all: &[Vec<Tree>], left: usize, chosen: &mut Vec<Tree>, found: &mut Vec<Vec<Tree>>) {
    if left == 0 {
        found.push(chosen.clone());
        return;
    }
    for tree in (1..=left).flat_map(|n| &all[n]) {
        if chosen.last().is_none_or(|last| (tree.size(), tree) <= (last.size(), last)) {
            chosen.push(tree.clone());
            forests(all, left - tree.size(), chosen, found);
            chosen.pop();
        }
    }
}

/// The first condition that a method breaks: of form (explicit, row sums) or of order.
fn broken(method: &Coefficients, order: u32) -> Option<String> {
    for (i, row) in method.a.iter().enumerate() {
        if row[i..].iter().any(|a| *a != 0.0) {
            return Some(format!("row {i} of a is not explicit"));
        }
        // Without it a time-dependent field is solved to a lower order.
        let size: f64 = row.iter().map(|a| a.abs()).sum();
        if (row.iter().sum::<f64>() - method.c[i]).abs() > 4.0 * f64::EPSILON * size {
            return Some(format!("row {i} of a does not sum to c"));
        }
    }
    trees(order as usize).into_iter().flatten().find(|t| !t.holds(method)).map(|t| format!("{t:?}"))
}

#[test]
fn there_are_as_many_trees_as_there_should_be() {
    let counts: Vec<usize> = trees(8).iter().map(Vec::len).collect();
    assert_eq!(counts, [0, 1, 1, 2, 4, 9, 20, 48, 115]);
}

#[test]
fn every_tableau_has_its_order_and_no_more() {
    for method in methods::coefficients() {
        assert_eq!(broken(&method, method.order), None, "{}", method.name);
        assert!(broken(&method, method.order + 1).is_some(), "{} is of higher order than it says", method.name);
    }
}

#[test]
fn a_broken_coefficient_breaks_a_condition() {
    for method in methods::coefficients() {
        let stages = method.b.len();
        for i in 0..stages {
            for change in 0..stages + 2 {
                let mut wrong = method.clone();
                let value = match change {
                    0 => &mut wrong.b[i],
                    1 => &mut wrong.c[i],
                    j => &mut wrong.a[i][j - 2],
                };
                *value += 1e-6;
                // A weight of zero that becomes 1e-6 breaks the sum of the weights.
                assert!(broken(&wrong, method.order).is_some(), "{}: stage {i}, change {change}", method.name);
            }
        }
    }
}

#[test]
fn first_same_as_last_is_read_off_the_coefficients() {
    assert!(BOSH3.first_same_as_last() && DOPRI5.first_same_as_last());
    let mut other = DOPRI5;
    other.tableau.a[6][0] += 1e-3;
    assert!(!other.first_same_as_last());
    assert_eq!((BOSH3.tableau.evaluations(), DOPRI5.tableau.evaluations()), (3, 6));
}

#[test]
fn the_embedded_weights_are_the_published_ones() {
    let published =
        [5179.0 / 57600.0, 0.0, 7571.0 / 16695.0, 393.0 / 640.0, -92097.0 / 339_200.0, 187.0 / 2100.0, 1.0 / 40.0];
    for (ours, theirs) in DOPRI5.embedded().b.iter().zip(published) {
        assert!((ours - theirs).abs() < 1e-15);
    }
    for (ours, theirs) in BOSH3.embedded().b.iter().zip([7.0 / 24.0, 1.0 / 4.0, 1.0 / 3.0, 1.0 / 8.0]) {
        assert!((ours - theirs).abs() < 1e-15);
    }
}
