//! Datasets, image grids and animations for generative models. Nothing is downloaded.
//!
//! ```
//! use advect_data::{Order, digits};
//! use burn::tensor::{Device, Tensor};
//!
//! let data = digits()?;
//! assert_eq!((data.count(), data.shape(), data.classes()), (1797, &[1, 8, 8][..], 10));
//! let mut order = Order::new((0..data.count()).collect(), 0);
//! let images: Tensor<4> = data.batch(&order.batch(0, 128), &Device::default());
//! assert_eq!(images.dims(), [128, 1, 8, 8]);
//! # Ok::<(), advect_data::DataError>(())
//! ```

mod animation;
mod dataset;
mod digits;
mod error;
mod grid;
mod idx;
mod mnist;
mod order;
mod scatter;
mod toys;

pub use animation::{save_color_gif, save_gif};
pub use dataset::{Dataset, Units};
pub use digits::digits;
pub use error::DataError;
pub use grid::{ImageGrid, save_png};
pub use idx::Idx;
pub use mnist::{mnist, mnist_units};
pub use order::{Order, split};
pub use scatter::Canvas;
pub use toys::Toy;

/// The README's example, run as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
