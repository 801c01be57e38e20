use super::CostMatrix;
use crate::PathError;
use advect_kernels::{Vectorized, vectorized};

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
/// Prices come near their optimum by an auction (Bertsekas 1988, "The auction algorithm: a distributed relaxation method
/// for the assignment problem", with epsilon falling); rows whose column is then exactly their cheapest keep it, and the
/// others get theirs by shortest augmenting paths (Jonker & Volgenant 1987, "A shortest augmenting path algorithm for
/// dense and sparse linear assignment problems"), which makes the result exact whatever the auction did. O(n^3) at
/// worst, about 20 passes over the matrix on points at random. Costs may be negative; of equal optima it takes one.
///
/// # Errors
/// [`PathError::PairRows`] if the matrix is not square.
pub fn assign(cost: &CostMatrix) -> Result<Assignment, PathError> {
    let (noise, data) = (cost.rows(), cost.columns());
    if noise != data {
        return Err(PathError::PairRows { noise, data, pool: 1 });
    }
    // All loops over columns in the widest vectors that the processor has.
    Ok(vectorized(Solve(cost)))
}

struct Solve<'a>(&'a CostMatrix);

impl Vectorized for Solve<'_> {
    type Output = Assignment;

    #[inline(always)]
    fn run(self) -> Assignment {
        let (prices, columns) = auction(self.0);
        let mut work = Work::new(self.0, prices);
        for row in work.keep_exact(&columns) {
            work.augment(row);
        }
        work.finish()
    }
}

/// No row, no column.
const NONE: usize = usize::MAX;

/// Rounds of the auction: epsilon is this part of the spread of the costs at first, and falls by a factor each round.
/// Finer than in the end is slower than what it saves.
const FIRST: f32 = 1.0 / 50.0;
const FALL: f32 = 0.25;
const ROUNDS: usize = 4;
/// Bids a row and round at most: prices need not be good, and of some matrices they cannot be had quickly.
const PATIENCE: usize = 40;

/// How much larger than the mean gap between the two least costs of a row the spread of all costs may be.
const RANGE: f64 = 1e9;

/// The difference of the two least.
#[inline(always)]
fn gap(costs: &[f64]) -> f64 {
    let (mut first, mut second) = (f64::INFINITY, f64::INFINITY);
    for &c in costs {
        let worse = if c > first { c } else { first };
        first = if c < first { c } else { first };
        second = if worse < second { worse } else { second };
    }
    second - first
}

/// Prices near the optimal ones, and which column each row got for them.
///
/// In f32, on costs brought to [0, 1]: half the memory to go through and twice the lanes, and nothing here has to be
/// exact.
#[inline(always)]
fn auction(cost: &CostMatrix) -> (Vec<f64>, Vec<usize>) {
    let n = cost.rows();
    let mut column_of = vec![NONE; n];
    let (least, most) = cost.values().iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), c| (c.min(l), c.max(h)));
    let spread = most - least;
    // Prices of the size of epsilon would swallow the digits of costs that are much smaller than the largest.
    let fine = (0..n).map(|row| gap(cost.row(row))).sum::<f64>() / n as f64;
    if spread <= 0.0 {
        return (vec![0.0; n], (0..n).collect());
    }
    if fine > 0.0 && spread > RANGE * fine {
        return (vec![0.0; n], column_of);
    }
    let scaled: Vec<f32> = cost.values().iter().map(|c| ((c - least) / spread) as f32).collect();
    let mut prices = vec![0.0_f32; n];
    let mut row_of = vec![NONE; n];
    let mut epsilon = FIRST;
    for _ in 0..ROUNDS {
        column_of.fill(NONE);
        row_of.fill(NONE);
        let mut waiting: Vec<usize> = (0..n).collect();
        let mut bids = PATIENCE * n;
        while let Some(row) = waiting.pop() {
            if bids == 0 {
                break;
            }
            bids -= 1;
            let (column, first, second) = two_cheapest(&scaled[row * n..(row + 1) * n], &prices);
            // As high a price as makes the second choice better by epsilon.
            prices[column] += second - first + epsilon;
            let outbid = std::mem::replace(&mut row_of[column], row);
            column_of[row] = column;
            if outbid != NONE {
                column_of[outbid] = NONE;
                waiting.push(outbid);
            }
        }
        epsilon *= FALL;
    }
    (prices.into_iter().map(|price| -f64::from(price) * spread).collect(), column_of)
}

/// The column that is cheapest with its price, and the least and second least of all.
#[inline(always)]
fn two_cheapest(costs: &[f32], prices: &[f32]) -> (usize, f32, f32) {
    const LANES: usize = 16;
    let (mut firsts, mut seconds) = ([f32::INFINITY; LANES], [f32::INFINITY; LANES]);
    let (c, p) = (costs.chunks_exact(LANES), prices.chunks_exact(LANES));
    let rest = c.remainder().iter().zip(p.remainder());
    for (c, p) in c.zip(p) {
        for k in 0..LANES {
            let value = c[k] + p[k];
            let worse = if value > firsts[k] { value } else { firsts[k] };
            firsts[k] = if value < firsts[k] { value } else { firsts[k] };
            seconds[k] = if worse < seconds[k] { worse } else { seconds[k] };
        }
    }
    let (mut first, mut second) = (f32::INFINITY, f32::INFINITY);
    for value in firsts.into_iter().chain(seconds).chain(rest.map(|(c, p)| c + p)) {
        if value < first {
            (first, second) = (value, first);
        } else if value < second {
            second = value;
        }
    }
    let column = costs.iter().zip(prices).position(|(c, p)| c + p == first);
    (column.unwrap_or(0), first, second)
}

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
    #[inline(always)]
    fn new(cost: &'a CostMatrix, v: Vec<f64>) -> Self {
        let n = cost.rows();
        Self {
            cost,
            v,
            column_of: vec![NONE; n],
            row_of: vec![NONE; n],
            distance: vec![0.0; n],
            before: vec![0; n],
            open: vec![0.0; n],
        }
    }

    /// Gives each row the column that is exactly its cheapest: the one it was promised, or else one that is free. Returns
    /// the rows that are left.
    #[inline(always)]
    fn keep_exact(&mut self, promised: &[usize]) -> Vec<usize> {
        let n = self.cost.rows();
        let mut cheapest = vec![0; n];
        for i in 0..n {
            self.reduce(i);
            let (column, low) = least(&self.distance);
            let own = promised[i];
            cheapest[i] = if own != NONE && self.distance[own] <= low { own } else { column };
            if cheapest[i] == own {
                (self.column_of[i], self.row_of[own]) = (own, i);
            }
        }
        for i in 0..n {
            if self.column_of[i] == NONE && self.row_of[cheapest[i]] == NONE {
                (self.column_of[i], self.row_of[cheapest[i]]) = (cheapest[i], i);
            }
        }
        (0..n).filter(|&i| self.column_of[i] == NONE).collect()
    }

    /// The reduced costs of a row, into `distance`.
    #[inline(always)]
    fn reduce(&mut self, row: usize) {
        for ((d, c), v) in self.distance.iter_mut().zip(self.cost.row(row)).zip(&self.v) {
            *d = c - v;
        }
    }

    /// Dijkstra on reduced costs from a free row to the nearest free column, whose path changes hands.
    #[inline(always)]
    fn augment(&mut self, start: usize) {
        // A settled column is out of the way at distance infinity and price -infinity, which keeps the loop without
        // branches.
        self.open.copy_from_slice(&self.v);
        self.reduce(start);
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

    #[inline(always)]
    fn finish(self) -> Assignment {
        let chosen = |i: usize| self.cost.row(i)[self.column_of[i]];
        let rows = 0..self.column_of.len();
        let row_potentials = rows.clone().map(|i| chosen(i) - self.v[self.column_of[i]]).collect();
        let cost = rows.map(chosen).sum();
        Assignment { columns: self.column_of, row_potentials, column_potentials: self.v, cost }
    }
}

/// The place of the least value, and the value: the least of sixteen lanes first, which are compared side by side.
#[inline(always)]
fn least(values: &[f64]) -> (usize, f64) {
    const LANES: usize = 16;
    let mut lanes = [f64::INFINITY; LANES];
    let chunks = values.chunks_exact(LANES);
    let rest = chunks.remainder().iter().fold(f64::INFINITY, |low, v| if *v < low { *v } else { low });
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane = if value < lane { *value } else { *lane };
        }
    }
    let low = lanes.into_iter().fold(rest, |low, v| if v < low { v } else { low });
    (values.iter().position(|v| *v == low).unwrap_or(0), low)
}
