use super::{Cost, CostMatrix, Coupling, Pairing, SquaredEuclidean, Uncoupled, assign};
use crate::{PathError, SourceLaw};

/// Partial optimal transport: the cheapest pairs of a share of the rows; the rest of noise and data are left out.
///
/// Chapel et al. (2020), "Partial optimal transport with applications on positive-unlabeled learning", proposition 1:
/// rows and columns that cost nothing take what is left out, and an exact assignment does the rest. Robust to
/// outliers; **neither the noise nor the data keep their law**, the batch shrinks. Noise and data may differ in
/// number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PartialOt<C = SquaredEuclidean> {
    cost: C,
    share: f64,
}

impl<C: Cost> PartialOt<C> {
    /// Pairs a share in (0, 1] of the rows (of the fewer, where noise and data differ), rounded to whole pairs, at
    /// least one.
    ///
    /// # Errors
    /// [`PathError::CouplingNumber`] unless `0 < share <= 1`.
    pub fn new(cost: C, share: f64) -> Result<Self, PathError> {
        if share > 0.0 && share <= 1.0 {
            Ok(Self { cost, share })
        } else {
            Err(PathError::CouplingNumber { what: "the share", value: share, range: "in (0, 1]" })
        }
    }

    /// The cheapest pairs, in the order of the data.
    ///
    /// # Errors
    /// None for the costs of a [`CostMatrix`]; what [`assign`] says is handed on.
    pub fn pairs(&self, cost: &CostMatrix) -> Result<Pairing, PathError> {
        let (rows, columns) = (cost.rows(), cost.columns());
        let fewer = rows.min(columns);
        let pairs = ((self.share * fewer as f64).round() as usize).clamp(1, fewer);
        // `columns - pairs` idle rows take the columns left out, `rows - pairs` idle columns the rows.
        let size = rows + columns - pairs;
        // An idle row in an idle column would allow one real pair more. It never pays, if it costs more than any real
        // pair can gain.
        let never = 1.0 + cost.values().iter().fold(0.0, |top: f64, c| top.max(c.abs()));
        let mut values = Vec::with_capacity(size * size);
        for row in 0..size {
            if row < rows {
                values.extend_from_slice(cost.row(row));
                values.extend(std::iter::repeat_n(0.0, rows - pairs));
            } else {
                values.extend(std::iter::repeat_n(0.0, columns));
                values.extend(std::iter::repeat_n(never, rows - pairs));
            }
        }
        let assignment = assign(&CostMatrix::new(values, size)?)?;
        let real = assignment.rows().into_iter().take(columns).enumerate().filter(|&(_, row)| row < rows);
        let (data, noise) = real.unzip();
        Ok(Pairing { noise, data })
    }
}

impl<const D: usize, C: Cost> Coupling<D> for PartialOt<C> {
    fn pair(&self, batch: &Uncoupled<'_, D>) -> Result<Pairing, PathError> {
        let (noise, data) = batch.rows()?;
        self.pairs(&self.cost.matrix(&noise, &data)?)
    }

    fn source_law(&self, _before: SourceLaw) -> SourceLaw {
        SourceLaw::Other
    }
}
