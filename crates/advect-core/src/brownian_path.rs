use crate::{Brownian, CoreError, Gaussian, NoiseKey, Purpose, Refinable, SpaceTimeLevyArea, TimeGrid, Times};

/// A Brownian path addressed by time: a row of cells, and in each a virtual tree of bridges.
///
/// `W(t)` is a function of (seed, sample id, cells, t) alone. A rejected step reads the same path again, and the
/// increments and areas of a fine grid add up to those of a coarse one. No value is stored, whatever is asked for.
///
/// An increment over a whole cell is one normal draw an element, so a solve on the grid of
/// [`on_grid`](Self::on_grid) reads the path in O(1) a step; halving a cell costs two draws more, any other time up to
/// `2 depth`. A node of a tree holds the increment and the space-time Levy area of its interval, and both are split by
/// their exact joint law (Gaines & Lyons, 1997; Foster, Oberhauser & Lyons, 2020). Below the finest level the path is
/// the parabola of the right increment and area.
///
/// ```
/// use advect_core::{Brownian, BrownianPath, SpaceTimeLevyArea, TimeGrid, Times};
///
/// let grid = TimeGrid::uniform(0.0, 1.0, 10)?;
/// let mut path = BrownianPath::on_grid(7, vec![0], &grid, 40);
/// let (at, middle, to) = (Times::Shared(0.2), Times::Shared(0.25), Times::Shared(0.3));
/// let whole: f64 = path.increment(&0.0, &at, &to);
/// let parts = path.increment(&0.0, &at, &middle) + path.increment(&0.0, &middle, &to);
/// assert!((whole - parts).abs() < 1e-15);
/// let (again, _area) = path.increment_and_area(&0.0, &at, &to);
/// assert_eq!(again, whole);
/// # Ok::<(), advect_core::CoreError>(())
/// ```
#[derive(Debug, Clone)]
pub struct BrownianPath {
    key: NoiseKey,
    ids: Vec<u64>,
    /// The ends of the cells, upward.
    cells: Vec<f64>,
    depth: u32,
}

impl BrownianPath {
    /// A path over `[start, end]`, one cell, for the samples named by `ids`, one a row, resolved to `2^-depth` of the
    /// span (`depth` is cut at 48).
    ///
    /// # Errors
    /// [`CoreError::Span`] unless `start < end`, both finite.
    pub fn new(seed: u64, ids: Vec<u64>, start: f64, end: f64, depth: u32) -> Result<Self, CoreError> {
        if !(start.is_finite() && end.is_finite() && start < end) {
            return Err(CoreError::Span { start, end });
        }
        Ok(Self { key: NoiseKey::new(seed, Purpose::Brownian), ids, cells: vec![start, end], depth: depth.min(48) })
    }

    /// A path whose cells are the intervals of a grid, up or down, for the samples named by `ids`, one a row; each
    /// cell is resolved to `2^-depth` of its length (`depth` is cut at 48).
    ///
    /// Another grid is another path: the cells are part of the key.
    #[must_use]
    pub fn on_grid(seed: u64, ids: Vec<u64>, grid: &TimeGrid, depth: u32) -> Self {
        let mut cells = grid.points().to_vec();
        if grid.start() > grid.end() {
            cells.reverse();
        }
        Self { key: NoiseKey::new(seed, Purpose::Brownian), ids, cells, depth: depth.min(48) }
    }

    /// `W(t)`, with `W(start) = 0`, shaped like `like`. Times outside the span read the nearest end.
    ///
    /// Costs one draw for each cell before `t`; steppers ask for increments.
    #[must_use]
    pub fn value<X: Gaussian>(&self, like: &X, t: &Times) -> X {
        self.read(like, &Times::Shared(self.cells[0]), t, Ask::Increment).0
    }

    fn read<X: Gaussian>(&self, like: &X, from: &Times, to: &Times, ask: Ask) -> (X, X) {
        let recipes: Vec<Vec<Term>> = match (from, to) {
            (Times::Shared(a), Times::Shared(b)) => vec![self.recipe(*a, *b, ask)],
            _ => (0..like.rows()).map(|row| self.recipe(from.at(row), to.at(row), ask)).collect(),
        };
        let mut increment = like.clone().combine(0.0, &[]);
        let mut area = increment.clone();
        // Rows with fewer terms than others draw for nothing; their sum is that of their own terms, in their order.
        for k in 0..recipes.iter().map(Vec::len).max().unwrap_or(0) {
            let term = |row: usize| recipes[if recipes.len() == 1 { 0 } else { row }].get(k).copied().unwrap_or(IDLE);
            let z = like.standard_normal(&mut |row| {
                let Term { cell, node, .. } = term(row);
                self.key.rng_of(self.ids[row], cell, node)
            });
            if recipes.len() == 1 {
                increment = increment.combine(1.0, &[(term(0).increment, &z)]);
                if ask == Ask::Area {
                    area = area.combine(1.0, &[(term(0).area, &z)]);
                }
            } else {
                let rows = 0..like.rows();
                let ones = vec![1.0; rows.len()];
                let factors: Vec<f64> = rows.clone().map(|row| term(row).increment).collect();
                increment = increment.combine_rows(&ones, &[(&factors, &z)]);
                if ask == Ask::Area {
                    let factors: Vec<f64> = rows.map(|row| term(row).area).collect();
                    area = area.combine_rows(&ones, &[(&factors, &z)]);
                }
            }
        }
        (increment, area)
    }

    /// The normal numbers that an increment and its area are made of, with their factors.
    fn recipe(&self, from: f64, to: f64, ask: Ask) -> Vec<Term> {
        let last = self.cells.len() - 1;
        let (start, end) = (self.cells[0], self.cells[last]);
        let (a, b) = (from.min(to).clamp(start, end), from.max(to).clamp(start, end));
        let mut terms = Vec::new();
        if a >= b {
            return terms;
        }
        // Times computed in two ways differ by round-off, and must not cost a descent to the finest level.
        let near = 4.0 * f64::EPSILON * start.abs().max(end.abs());
        let snap = |t: f64| {
            let next = self.cells.partition_point(|&c| c < t);
            let close =
                [next.saturating_sub(1), next].map(|i| self.cells[i]).into_iter().find(|c| (c - t).abs() <= near);
            close.unwrap_or(t)
        };
        let asked = Interval { start: snap(a), end: snap(b) };
        let mut cell = self.cells.partition_point(|&c| c <= asked.start) - 1;
        while cell < last && self.cells[cell] < asked.end {
            let whole = Interval { start: self.cells[cell], end: self.cells[cell + 1] };
            let piece = asked.within(whole);
            let mut descent = Descent { terms: &mut terms, cell: cell as u64, depth: self.depth, near, ask };
            let root = descent.node(1, 0, whole, piece, Functional::IDENTITY.of(piece, asked));
            // Roots: W is normal with variance h, H with h / 12.
            descent.push(0, root.on(0, whole.length().sqrt()));
            descent.push(1, root.on(1, (whole.length() / 12.0).sqrt()));
            cell += 1;
        }
        if from > to {
            terms.iter_mut().for_each(|term| term.increment = -term.increment);
        }
        terms
    }
}

impl<X: Gaussian> Brownian<X> for BrownianPath {
    fn increment(&mut self, like: &X, from: &Times, to: &Times) -> X {
        self.read(like, from, to, Ask::Increment).0
    }
}

impl<X: Gaussian> SpaceTimeLevyArea<X> for BrownianPath {
    fn increment_and_area(&mut self, like: &X, from: &Times, to: &Times) -> (X, X) {
        self.read(like, from, to, Ask::Area)
    }
}

impl Refinable for BrownianPath {}

/// What is asked for: the area costs more draws.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Ask {
    Increment,
    Area,
}

/// One normal number, by its place in the trees, and its share in the increment and the area.
#[derive(Debug, Clone, Copy)]
struct Term {
    cell: u64,
    node: u64,
    increment: f64,
    area: f64,
}

const IDLE: Term = Term { cell: 0, node: 0, increment: 0.0, area: 0.0 };

#[derive(Debug, Clone, Copy, PartialEq)]
struct Interval {
    start: f64,
    end: f64,
}

impl Interval {
    fn length(self) -> f64 {
        self.end - self.start
    }

    fn within(self, other: Self) -> Self {
        Self { start: self.start.max(other.start), end: self.end.min(other.end) }
    }
}

/// Increment and area that were asked for, as linear functions of the increment and area (W, H) of an interval.
#[derive(Debug, Clone, Copy)]
struct Functional {
    increment: [f64; 2],
    area: [f64; 2],
}

impl Functional {
    const IDENTITY: Self = Self { increment: [1.0, 0.0], area: [0.0, 1.0] };
    const ZERO: Self = Self { increment: [0.0, 0.0], area: [0.0, 0.0] };

    /// The share of a part of the interval: `W = sum W_i` and
    /// `h H = sum h_i H_i + W_i (what comes after - what came before) / 2`.
    fn of(self, part: Interval, whole: Interval) -> Self {
        let balance = (whole.end - part.end) - (part.start - whole.start);
        self.after([[1.0, 0.0], [balance / (2.0 * whole.length()), part.length() / whole.length()]])
    }

    /// As a function of what the interval's (W, H) depend on: they are the matrix times it.
    fn after(self, [w, h]: [[f64; 2]; 2]) -> Self {
        let row = |f: [f64; 2]| [f[0] * w[0] + f[1] * h[0], f[0] * w[1] + f[1] * h[1]];
        Self { increment: row(self.increment), area: row(self.area) }
    }

    fn plus(self, other: Self) -> Self {
        let sum = |a: [f64; 2], b: [f64; 2]| [a[0] + b[0], a[1] + b[1]];
        Self { increment: sum(self.increment, other.increment), area: sum(self.area, other.area) }
    }

    /// The factors, in increment and area, of a number that adds `spread` times itself to W (0) or H (1).
    fn on(self, part: usize, spread: f64) -> [f64; 2] {
        [self.increment[part] * spread, self.area[part] * spread]
    }
}

struct Descent<'a> {
    terms: &'a mut Vec<Term>,
    cell: u64,
    depth: u32,
    near: f64,
    ask: Ask,
}

impl Descent<'_> {
    /// `functional` of the piece as a function of increment and area of the node; the normal numbers between them are
    /// added to the terms. Nodes are numbered from 1, the children of n are 2n and 2n + 1, and the two numbers that
    /// split n have the counters 2n and 2n + 1.
    fn node(&mut self, n: u64, level: u32, whole: Interval, piece: Interval, functional: Functional) -> Functional {
        if piece == whole {
            return functional;
        }
        let h = whole.length();
        let middle = whole.start + 0.5 * h;
        if level == self.depth || middle <= whole.start || middle >= whole.end {
            // The parabola of increment W and area H: W(s) = s W / h + 6 s (h - s) H / h^2.
            let (a, b) = ((piece.start - whole.start) / h, (piece.end - whole.start) / h);
            let slope = 6.0 * (b - a) * (1.0 - a - b);
            return functional.after([[b - a, slope], [0.0, (b - a) * (b - a)]]);
        }
        let snap = |t: f64| if (t - middle).abs() <= self.near { middle } else { t };
        let piece = Interval { start: snap(piece.start), end: snap(piece.end) };
        let mut sum = Functional::ZERO;
        let (mut first, mut second) = ([0.0; 2], [0.0; 2]);
        let halves =
            [(Interval { end: middle, ..whole }, 1.0, 2 * n), (Interval { start: middle, ..whole }, -1.0, 2 * n + 1)];
        for (half, sign, child) in halves {
            let part = piece.within(half);
            if part.length() <= 0.0 {
                continue;
            }
            let share = self.node(child, level + 1, half, part, functional.of(part, piece));
            // W_half = W / 2 +- (3/2 H + sqrt(h)/4 z1), H_half = H / 4 - sqrt(h)/8 z1 +- sqrt(h/48) z2.
            sum = sum.plus(share.after([[0.5, 1.5 * sign], [0.0, 0.25]]));
            let (w, a) = (share.on(0, 0.25 * sign * h.sqrt()), share.on(1, -0.125 * h.sqrt()));
            let b = share.on(1, sign * (h / 48.0).sqrt());
            first = [first[0] + w[0] + a[0], first[1] + w[1] + a[1]];
            second = [second[0] + b[0], second[1] + b[1]];
        }
        self.push(2 * n, first);
        self.push(2 * n + 1, second);
        sum
    }

    fn push(&mut self, node: u64, [increment, area]: [f64; 2]) {
        let area = if self.ask == Ask::Area { area } else { 0.0 };
        if increment != 0.0 || area != 0.0 {
            self.terms.push(Term { cell: self.cell, node, increment, area });
        }
    }
}
