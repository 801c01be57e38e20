//! Where a token is in its image.

use burn::tensor::{DType, Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

/// The longest period, in patches (Vaswani et al. 2017, section 3.5; Su et al. 2021, section 3.2.2).
const MAX_PERIOD: f64 = 10_000.0;

/// How the tokens of a transformer learn where they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Positions {
    /// Sines and cosines of row and column, added to the tokens: [`sin_cos_2d`]. Not learned.
    SinCos,
    /// A learned vector for each place, added to the tokens (Dosovitskiy et al. 2021). Fixes the image's size.
    Learned,
    /// Queries and keys turned by angles that grow with row and column: [`Rotation`]. Not learned.
    Rotary,
}

/// Frequency i of `count`: `MAX_PERIOD`^(-i / count), in radians for a patch.
fn frequencies(count: usize) -> impl Iterator<Item = f64> {
    (0..count).map(move |i| MAX_PERIOD.powf(-(i as f64) / count as f64))
}

/// The places of a grid along one axis.
fn places(count: usize) -> Vec<f64> {
    (0..count).map(|place| place as f64).collect()
}

/// Sines, then cosines, of places on one axis: `features` numbers (even) for each.
fn sin_cos(places: &[f64], features: usize) -> Vec<f64> {
    let mut table = Vec::with_capacity(places.len() * features);
    for place in places {
        table.extend(frequencies(features / 2).map(|w| (place * w).sin()));
        table.extend(frequencies(features / 2).map(|w| (place * w).cos()));
    }
    table
}

/// Sines and cosines of the places of a grid.
///
/// The positions of DiT (Peebles and Xie 2023; `get_2d_sincos_pos_embed` of MAE, He et al. 2022): with
/// q = `features` / 4 and w_i = 10,000^(-i/q), i = 0 .. q - 1, the token at (row r, column c) gets
/// (sin(c w_i), cos(c w_i), sin(r w_i), cos(r w_i)), each part q numbers. Columns come first, as in these checkpoints.
///
/// `features` is a multiple of four.
///
/// # Shapes
///
/// - output: `[rows * columns, features]`, row by row
pub fn sin_cos_2d([rows, columns]: [usize; 2], features: usize, options: (&Device, DType)) -> Tensor<2> {
    sin_cos_at([&places(rows), &places(columns)], features, options)
}

/// [`sin_cos_2d`] for rows and columns at any coordinates.
pub(crate) fn sin_cos_at([rows, columns]: [&[f64]; 2], features: usize, options: (&Device, DType)) -> Tensor<2> {
    let half = features / 2;
    let axis = |places: &[f64]| {
        Tensor::<2>::from_data(TensorData::new(sin_cos(places, half), [places.len(), half]), options) // [count, half]
    };
    let grid = [rows.len(), columns.len(), half];
    let by_column = axis(columns).unsqueeze_dim::<3>(0).expand(grid); // [rows, columns, half]
    let by_row = axis(rows).unsqueeze_dim::<3>(1).expand(grid); // [rows, columns, half]
    Tensor::cat(vec![by_column, by_row], 2).reshape([rows.len() * columns.len(), features]) // [rows * columns, features]
}

/// [`sin_cos_2d`] as the checkpoints of DiT store it: `[1, rows * columns, features]` in f32.
pub(crate) fn stored_sin_cos_2d([rows, columns]: [usize; 2], features: usize) -> TensorData {
    let half = features / 2;
    let (by_row, by_column) = (sin_cos(&places(rows), half), sin_cos(&places(columns), half));
    let mut table = Vec::with_capacity(rows * columns * features);
    for token in 0..rows * columns {
        let (row, column) = (token / columns, token % columns);
        table.extend_from_slice(&by_column[column * half..][..half]);
        table.extend_from_slice(&by_row[row * half..][..half]);
    }
    TensorData::new(table, [1, rows * columns, features]).convert::<f32>()
}

/// Axial rotary positions of a grid: pairs of features turned in their plane, so that scores depend on differences of
/// places only.
///
/// Su et al. 2021 (RoPE) on two axes, as in EVA-02 (Fang et al. 2023; timm's `RotaryEmbeddingCat`): with
/// q = `size` / 4 and w_i = 10,000^(-i/q), the features (2i, 2i + 1) of a token at (row r, column c) are turned by the
/// angle r w_i, and the features (2q + 2i, 2q + 2i + 1) by c w_i.
#[derive(Debug, Clone)]
pub struct Rotation {
    /// Cosines of the angles, `[tokens, size / 2]`.
    cos: Tensor<2>,
    /// Sines of the angles, `[tokens, size / 2]`.
    sin: Tensor<2>,
}

impl Rotation {
    /// The rotation for heads of `size` features (a multiple of four) on the tokens of a grid, row by row, and `extra`
    /// tokens behind them that have no place and are left as they are.
    pub fn axial([rows, columns]: [usize; 2], extra: usize, size: usize, options: (&Device, DType)) -> Self {
        let (tokens, quarter) = (rows * columns + extra, size / 4);
        let mut angles = Vec::with_capacity(tokens * 2 * quarter);
        for token in 0..rows * columns {
            let (row, column) = (token / columns, token % columns);
            angles.extend(frequencies(quarter).map(|w| row as f64 * w));
            angles.extend(frequencies(quarter).map(|w| column as f64 * w));
        }
        angles.resize(tokens * 2 * quarter, 0.0);
        let table = |f: fn(f64) -> f64| {
            let values: Vec<f64> = angles.iter().map(|&angle| f(angle)).collect();
            Tensor::<2>::from_data(TensorData::new(values, [tokens, 2 * quarter]), options) // [tokens, size / 2]
        };
        Self { cos: table(f64::cos), sin: table(f64::sin) }
    }

    /// Turns queries or keys.
    ///
    /// # Shapes
    ///
    /// - `x`: `[batch, heads, tokens, size]`, and so is the output
    ///
    /// # Panics
    ///
    /// If `x` has another number of tokens, or heads of another size, than the rotation was made for.
    pub fn apply(&self, x: Tensor<4>) -> Tensor<4> {
        let [batch, heads, tokens, size] = x.dims();
        let [places, half] = self.cos.dims();
        assert!(
            places == tokens && 2 * half == size,
            "a rotation for {places} tokens of {} features cannot turn {tokens} of {size}",
            2 * half
        );
        let half = [batch, heads, tokens, size / 2];
        let pairs = x.reshape([batch, heads, tokens, size / 2, 2]); // [batch, heads, tokens, size / 2, 2]
        let a = pairs.clone().narrow(4, 0, 1).reshape(half); // [batch, heads, tokens, size / 2]
        let b = pairs.narrow(4, 1, 1).reshape(half); // [batch, heads, tokens, size / 2]
        let cos = self.cos.clone().unsqueeze::<4>(); // [1, 1, tokens, size / 2]
        let sin = self.sin.clone().unsqueeze::<4>(); // [1, 1, tokens, size / 2]
        let turned_a = a.clone() * cos.clone() - b.clone() * sin.clone(); // [batch, heads, tokens, size / 2]
        let turned_b = a * sin + b * cos; // [batch, heads, tokens, size / 2]
        let turned = Tensor::stack::<5>(vec![turned_a, turned_b], 4); // [batch, heads, tokens, size / 2, 2]
        turned.reshape([batch, heads, tokens, size]) // [batch, heads, tokens, size]
    }
}
