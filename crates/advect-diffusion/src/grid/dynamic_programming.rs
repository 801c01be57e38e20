use crate::DiffusionError;
use crate::error::check;

/// The cheapest way from the first candidate to the last in a given number of steps.
#[derive(Debug, Clone, PartialEq)]
pub struct CheapestPath {
    /// The indices of the chosen candidates, both ends included.
    pub indices: Vec<usize>,
    /// The sum of the costs of the steps.
    pub cost: f64,
}

/// Chooses `steps` steps from candidate 0 to candidate `last` such that the sum of `cost(i, j)` is least.
///
/// Bellman's dynamic programming, as Watson et al., 2021, "Learning to Efficiently Sample from Diffusion Probabilistic
/// Models", section 3, and Chen et al., 2024, "On the Trajectory Regularity of ODE-based Diffusion Sampling" (GITS),
/// use it for time grids. Exact for costs that add up; `cost` is asked once for each pair `i < j` that a path can
/// contain.
///
/// # Errors
/// Those of `cost`, and [`DiffusionError::Setting`] unless `1 <= steps <= last`.
pub fn cheapest_path<E: From<DiffusionError>>(
    last: usize,
    steps: usize,
    mut cost: impl FnMut(usize, usize) -> Result<f64, E>,
) -> Result<CheapestPath, E> {
    let rule = "there must be at least one step and no more steps than gaps between candidates";
    check(steps >= 1 && steps <= last, "steps", steps as f64, rule)?;
    let mut costs = vec![vec![f64::INFINITY; last + 1]; last + 1];
    for (i, row) in costs.iter_mut().enumerate() {
        for (j, entry) in row.iter_mut().enumerate().skip(i + 1) {
            // The fewest and the most steps of a path that contains this one.
            let (fewest, most) = (usize::from(i > 0) + 1 + usize::from(j < last), i + 1 + last - j);
            if (fewest..=most).contains(&steps) {
                *entry = cost(i, j)?;
            }
        }
    }
    // best[k][j]: the least cost to reach j in k + 1 steps, and from where.
    let mut best: Vec<Vec<(f64, usize)>> = vec![(0..=last).map(|j| (costs[0][j], 0)).collect()];
    for k in 1..steps {
        let reach = |j: usize| {
            let from = |i: usize| (best[k - 1][i].0 + costs[i][j], i);
            (0..j).map(from).fold((f64::INFINITY, 0), |a, b| if b.0 < a.0 { b } else { a })
        };
        best.push((0..=last).map(reach).collect());
    }
    let mut indices = vec![last];
    for k in (0..steps).rev() {
        indices.push(best[k][indices[indices.len() - 1]].1);
    }
    indices.reverse();
    Ok(CheapestPath { indices, cost: best[steps - 1][last].0 })
}
