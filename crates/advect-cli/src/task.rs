//! What is modelled: images from a set in memory, or points drawn without end.

use crate::config::RunConfig;
use advect::core::Purpose;
use advect::data::{Dataset, Order, Toy, split};
use advect::prelude::{Batch, Device};
use burn::tensor::{Tensor, TensorData};

use advect::burn;

/// Held-out points of a toy, and the ids they are drawn with: far from those of training.
const TOY_VALIDATION: u64 = 2000;
const TOY_VALIDATION_START: u64 = 1 << 62;
/// Ids of the noise on held-out data.
const VALIDATION_IDS: u64 = 1 << 62;

/// Where samples come from.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    Images(Dataset),
    Points(Toy),
}

/// Training and validation batches of rank `D`, a function of the step alone.
pub(crate) struct Task<const D: usize> {
    pub(crate) kind: Kind,
    pub(crate) seed: u64,
    pub(crate) batch: usize,
    pub(crate) device: Device,
    pub(crate) conditional: bool,
}

pub(crate) enum Kind {
    Images { data: Dataset, order: Order, held_out: Vec<usize> },
    Points(Toy),
}

impl<const D: usize> Task<D> {
    pub(crate) fn new(config: &RunConfig, source: Source, device: &Device) -> Self {
        let kind = match source {
            Source::Images(data) => {
                let (members, held_out) = split(data.count(), config.data.held_out, config.seed);
                Kind::Images { data, order: Order::new(members, config.seed), held_out }
            }
            Source::Points(toy) => Kind::Points(toy),
        };
        let conditional = config.model.classes().is_some();
        Self { kind, seed: config.seed, batch: config.train.batch, device: device.clone(), conditional }
    }

    /// The batch of a step. Its rows are named by their place in the endless sequence of examples.
    pub(crate) fn batch(&mut self, step: u64) -> Batch<D> {
        let start = step * self.batch as u64;
        let ids: Vec<u64> = (start..start + self.batch as u64).collect();
        match &mut self.kind {
            Kind::Images { data, order, .. } => {
                let chosen = order.batch(start, self.batch);
                images(data, &chosen, ids, self.conditional, &self.device)
            }
            Kind::Points(toy) => points(*toy, self.seed, ids.clone(), ids, &self.device),
        }
    }

    /// Which images of the set are held out; points are drawn without end.
    pub(crate) fn held_out(&self) -> Option<&[usize]> {
        match &self.kind {
            Kind::Images { held_out, .. } => Some(held_out),
            Kind::Points(_) => None,
        }
    }

    /// How many images are trained on and how many are held out.
    pub(crate) fn counts(&self) -> Option<[usize; 2]> {
        match &self.kind {
            Kind::Images { data, held_out, .. } => Some([data.count() - held_out.len(), held_out.len()]),
            Kind::Points(_) => None,
        }
    }

    /// The held-out data, with fixed noise and times, outside autodiff.
    pub(crate) fn validation(&self) -> Batch<D> {
        let device = &self.device.clone().inner();
        match &self.kind {
            Kind::Images { data, held_out, .. } => {
                let ids = (VALIDATION_IDS..VALIDATION_IDS + held_out.len() as u64).collect();
                images(data, held_out, ids, self.conditional, device)
            }
            Kind::Points(toy) => {
                let fresh = (TOY_VALIDATION_START..TOY_VALIDATION_START + TOY_VALIDATION).collect();
                let ids = (VALIDATION_IDS..VALIDATION_IDS + TOY_VALIDATION).collect();
                points(*toy, self.seed, fresh, ids, device)
            }
        }
    }
}

fn images<const D: usize>(
    data: &Dataset,
    chosen: &[usize],
    ids: Vec<u64>,
    conditional: bool,
    device: &Device,
) -> Batch<D> {
    let labels = data.labels().filter(|_| conditional);
    let classes = labels.map(|labels| chosen.iter().map(|&i| labels[i]).collect());
    Batch { data: data.batch(chosen, device), classes, ids }
}

fn points<const D: usize>(toy: Toy, seed: u64, which: Vec<u64>, ids: Vec<u64>, device: &Device) -> Batch<D> {
    let count = which.len();
    let values = toy.points(seed, which.into_iter());
    let data: Tensor<D> =
        Tensor::<2>::from_data(TensorData::new(values, [count, 2]), device).reshape(plane::<D>(count));
    Batch { data, classes: None, ids }
}

/// `[count, 2]`: points have rank 2, and only rank 2 is asked for.
fn plane<const D: usize>(count: usize) -> [usize; D] {
    std::array::from_fn(|i| if i == 0 { count } else { 2 })
}

/// Samples use noise of their own, whatever the seed of training was.
pub(crate) const SAMPLE_NOISE: Purpose = Purpose::Custom(1);
