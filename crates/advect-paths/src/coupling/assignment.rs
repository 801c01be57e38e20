use super::CostMatrix;
use crate::PathError;

/// An optimal assignment, and the dual potentials that prove it.
#[derive(Debug, Clone, PartialEq)]
pub struct Assignment {
    /// The column of each row.
    pub columns: Vec<usize>,
    /// u with `u_i + v_j <= c_ij`, equal where row i has column j. So `sum u + sum v` is the least total cost.
    pub row_potentials: Vec<f64>,
    /// v.
    pub column_potentials: Vec<f64>,
    /// The total cost.
    pub cost: f64,
}

impl Assignment {
    /// The row of each column.
    #[must_use]
    pub fn rows(&self) -> Vec<usize> {
        let mut rows = vec![0; self.columns.len()];
        for (row, &column) in self.columns.iter().enumerate() {
            rows[column] = row;
        }
        rows
    }
}

/// The linear assignment problem: one column for each row at the least total cost.
///
/// Jonker & Volgenant (1987), "A shortest augmenting path algorithm for dense and sparse linear assignment problems":
/// column reduction, reduction transfer, augmenting row reduction, then Dijkstra from each row that is still free.
/// O(n^3) at worst, about n^2 on points at random. Costs may be negative; of equal optima it takes one.
///
/// # Errors
/// [`PathError::PairRows`] if the matrix is not square.
pub fn assign(cost: &CostMatrix) -> Result<Assignment, PathError> {
    let (noise, data) = (cost.rows(), cost.columns());
    if noise != data {
        return Err(PathError::PairRows { noise, data, pool: 1 });
    }
    let mut work = Work::new(cost);
    let mut free = work.reduce_columns();
    for _ in 0..2 {
        free = work.reduce_rows(free);
    }
    for row in free {
        work.augment(row);
    }
    Ok(work.finish())
}

/// No row, no column.
const NONE: usize = usize::MAX;

struct Work<'a> {
    cost: &'a CostMatrix,
    v: Vec<f64>,
    column_of: Vec<usize>,
    row_of: Vec<usize>,
    // Scratch of `augment`: the length of the path to each column, the row before it, and v where a column is not
    // settled.
    distance: Vec<f64>,
    before: Vec<u32>,
    open: Vec<f64>,
}

impl<'a> Work<'a> {
    fn new(cost: &'a CostMatrix) -> Self {
        let n = cost.rows();
        Self {
            cost,
            v: vec![f64::INFINITY; n],
            column_of: vec![NONE; n],
            row_of: vec![NONE; n],
            distance: vec![0.0; n],
            before: vec![0; n],
            open: vec![0.0; n],
        }
    }

    /// Each column takes its cheapest row, if that is free still; what a row with one column could give is
    /// transferred. Costs count from the least of their row, or rows close to everything would be every column's
    /// cheapest: a quarter of the time in many dimensions. Returns the rows without a column.
    fn reduce_columns(&mut self) -> Vec<usize> {
        let n = self.cost.rows();
        let mut cheapest = vec![0; n];
        for i in 0..n {
            let least = self.cost.row(i).iter().copied().fold(f64::INFINITY, f64::min);
            for (j, &c) in self.cost.row(i).iter().enumerate() {
                if c - least < self.v[j] {
                    (self.v[j], cheapest[j]) = (c - least, i);
                }
            }
        }
        let mut wanted = vec![0_usize; n];
        for j in (0..n).rev() {
            let i = cheapest[j];
            wanted[i] += 1;
            if wanted[i] == 1 {
                (self.column_of[i], self.row_of[j]) = (j, i);
            }
        }
        for i in 0..n {
            if wanted[i] == 1 && n > 1 {
                let own = self.column_of[i];
                let others = self.cost.row(i).iter().zip(&self.v).enumerate().filter(|(j, _)| *j != own);
                let reduced = self.cost.row(i)[own] - self.v[own];
                self.v[own] -= others.map(|(_, (c, v))| c - v).fold(f64::INFINITY, f64::min) - reduced;
            }
        }
        (0..n).filter(|&i| wanted[i] == 0).collect()
    }

    /// Each free row takes its cheapest column, whose potential falls to where the row's second choice is as good;
    /// the row that had it is free again, and chooses next. Returns the rows that are left.
    fn reduce_rows(&mut self, mut free: Vec<usize>) -> Vec<usize> {
        let n = self.cost.rows();
        let (mut left, mut at, mut turns) = (Vec::new(), 0, 0);
        while at < free.len() {
            let i = free[at];
            at += 1;
            turns += 1;
            let (first, u1, second, u2) = self.two_cheapest(i);
            let lowered = self.v[first] - (u2 - u1);
            // In floating point a step may be too small to change v; then, and after n turns, `augment` is quicker.
            let falls = lowered < self.v[first] && turns < n;
            let mut j = first;
            if falls {
                self.v[first] = lowered;
            } else if self.row_of[first] != NONE && second != NONE && u1 >= u2 {
                j = second;
            }
            let displaced = self.row_of[j];
            if displaced != NONE {
                self.column_of[displaced] = NONE;
                if falls {
                    at -= 1;
                    free[at] = displaced;
                } else {
                    left.push(displaced);
                }
            }
            (self.column_of[i], self.row_of[j]) = (j, i);
        }
        left
    }

    /// The columns of least and second least reduced cost, with these costs.
    fn two_cheapest(&mut self, i: usize) -> (usize, f64, usize, f64) {
        let reduced = &mut self.distance;
        for ((h, c), v) in reduced.iter_mut().zip(self.cost.row(i)).zip(&self.v) {
            *h = c - v;
        }
        let (first, u1) = least(reduced);
        reduced[first] = f64::INFINITY;
        let (second, u2) = least(reduced);
        (first, u1, if u2 < f64::INFINITY { second } else { NONE }, u2)
    }

    /// Dijkstra on reduced costs from a free row to the nearest free column, whose path changes hands.
    fn augment(&mut self, start: usize) {
        // A settled column is out of the way at distance infinity and price -infinity, which keeps the loop without
        // branches.
        self.open.copy_from_slice(&self.v);
        for ((d, c), v) in self.distance.iter_mut().zip(self.cost.row(start)).zip(&self.v) {
            *d = c - v;
        }
        self.before.fill(start as u32);
        let mut settled = Vec::new();
        let (end, length) = loop {
            let (j, length) = least(&self.distance);
            let i = self.row_of[j];
            if i == NONE {
                break (j, length);
            }
            settled.push((j, length));
            (self.distance[j], self.open[j]) = (f64::INFINITY, f64::NEG_INFINITY);
            let row = self.cost.row(i);
            let shift = length - (row[j] - self.v[j]);
            let columns = self.distance.iter_mut().zip(&mut self.before).zip(row.iter().zip(&self.open));
            for ((distance, before), (c, v)) in columns {
                let through = c - v + shift;
                let nearer = through < *distance;
                *distance = if nearer { through } else { *distance };
                *before = if nearer { i as u32 } else { *before };
            }
        };
        for (j, distance) in settled {
            self.v[j] += distance - length;
        }
        let mut j = end;
        loop {
            let i = self.before[j] as usize;
            self.row_of[j] = i;
            std::mem::swap(&mut self.column_of[i], &mut j);
            if i == start {
                break;
            }
        }
    }

    fn finish(self) -> Assignment {
        let chosen = |i: usize| self.cost.row(i)[self.column_of[i]];
        let rows = 0..self.column_of.len();
        let row_potentials = rows.clone().map(|i| chosen(i) - self.v[self.column_of[i]]).collect();
        let cost = rows.map(chosen).sum();
        Assignment { columns: self.column_of, row_potentials, column_potentials: self.v, cost }
    }
}

/// The place of the least value, and the value: the least of eight lanes first, which are compared side by side.
fn least(values: &[f64]) -> (usize, f64) {
    let mut lanes = [f64::INFINITY; 8];
    let eights = values.chunks_exact(8);
    let rest = eights.remainder().iter().fold(f64::INFINITY, |low, v| if *v < low { *v } else { low });
    for eight in eights {
        for (lane, value) in lanes.iter_mut().zip(eight) {
            *lane = if value < lane { *value } else { *lane };
        }
    }
    let low = lanes.into_iter().fold(rest, |low, v| if v < low { v } else { low });
    (values.iter().position(|v| *v == low).unwrap_or(0), low)
}
