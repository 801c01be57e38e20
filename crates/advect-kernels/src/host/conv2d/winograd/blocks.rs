//! Tiles that are worked on together.
use super::super::rows::Correlation;
use super::transforms::TILE;

/// The tiles of a batch, cut into blocks: whole images, or rows of tiles of one.
pub(super) struct Grid {
    /// Tiles of an image, down and across.
    pub tiles: [usize; 2],
    batch: usize,
    images: usize,
    rows: usize,
}

/// Some rows of tiles of some images; all rows if there are several images.
#[derive(Clone, Copy)]
pub(super) struct Block {
    pub first_image: usize,
    pub images: usize,
    pub first_row: usize,
    pub rows: usize,
}

impl Grid {
    /// Blocks of about `tiles` tiles.
    pub(super) fn new(of: &Correlation, batch: usize, tiles: usize) -> Self {
        let [down, across] = of.output.map(|pixels| pixels.div_ceil(TILE));
        // As even as can be.
        let images = batch.div_ceil(batch.div_ceil((tiles / (down * across)).max(1)).max(1)).max(1);
        let rows = down.div_ceil(down.div_ceil((tiles / across).max(1)).max(1)).max(1);
        Self { tiles: [down, across], batch, images, rows }
    }

    /// Blocks of an image, or 1.
    fn strips(&self) -> usize {
        self.tiles[0].div_ceil(self.rows)
    }

    pub(super) fn blocks(&self) -> usize {
        self.batch.div_ceil(self.images) * self.strips()
    }

    pub(super) fn block(&self, index: usize) -> Block {
        let (first_image, first_row) = (index / self.strips() * self.images, index % self.strips() * self.rows);
        Block {
            first_image,
            images: self.images.min(self.batch - first_image),
            first_row,
            rows: self.rows.min(self.tiles[0] - first_row),
        }
    }

    /// Tiles of the largest block.
    pub(super) fn most(&self) -> usize {
        self.images * self.rows * self.tiles[1]
    }
}
