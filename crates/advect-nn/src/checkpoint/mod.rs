//! Weights in the files of others: PyTorch's names and arrangement, to our networks and back.
//!
//! A [`Layout`] is a table: which of their tensors make up which of our parameters. [`check`] compares names and shapes
//! without making a weight, [`load`] reads the weights, [`export`] writes them under their names again.
//!
//! ```
//! use advect_nn::checkpoint::{export, load};
//! use advect_nn::{UNet, UNetConfig};
//! use burn::tensor::Device;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (device, config) = (Device::flex(), UNetConfig::new(1, 8, vec![1, 2]).with_groups(4).with_head_channels(8));
//! let tensors = export(&config.init(&device)?, &UNet::LAYOUT)?; // as diffusers names them
//! assert_eq!(tensors["mid_block.attentions.0.to_q.weight"].shape().to_vec(), [16, 16]);
//!
//! let network = load(config.init(&device)?, &UNet::LAYOUT, &tensors)?; // a second one with the same weights
//! assert_eq!(export(&network, &UNet::LAYOUT)?, tensors);
//! # Ok(())
//! # }
//! ```
//!
//! Time stays as it was: a network that was trained with 0 for data and 999 for noise still wants that, and [`TimeEmbedding::backward`](crate::TimeEmbedding::backward)
//! turns it round. [`Backbone`] says which way each class of diffusers counts; what it predicts, noise say, no file tells.

mod config;
mod diffusers;
mod error;
mod export;
mod file;
mod layout;
mod load;
mod mapping;
mod numbers;
mod pickle;
mod safetensors;
mod shards;
mod source;
mod torch;
mod zip;

pub use diffusers::{Backbone, Folder};
pub use error::{CheckpointError, Misshapen};
pub use export::export;
pub use file::{Checkpoint, Which};
pub use layout::{Constant, Form, Known, Layout, Row};
pub(crate) use load::compare;
pub use load::{Loading, Numbers, Precision, check, load, load_with};
pub use mapping::parameters;
pub use safetensors::save;
pub use source::{Entry, Manifest, Source, Tensors};
