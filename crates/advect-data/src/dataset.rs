use crate::DataError;
use burn::tensor::{Device, Tensor, TensorData};

/// The affine map between the units of the data and those of a model: `model = (data - offset) / scale`.
///
/// Models want zero mean and a spread of about one; users want their own units back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Units {
    /// What is subtracted.
    pub offset: f64,
    /// What is divided by; positive.
    pub scale: f64,
}

impl Units {
    /// From the data's units to the model's.
    ///
    /// # Shapes
    /// - `data`, output: any, equal
    #[must_use]
    pub fn to_model<const D: usize>(self, data: Tensor<D>) -> Tensor<D> {
        (data - self.offset) / self.scale
    }

    /// From the model's units to the data's.
    ///
    /// # Shapes
    /// - `model`, output: any, equal
    #[must_use]
    pub fn to_data<const D: usize>(self, model: Tensor<D>) -> Tensor<D> {
        model * self.scale + self.offset
    }
}

/// A finite set of samples in memory, in the data's own units, with or without labels.
#[derive(Debug, Clone)]
pub struct Dataset {
    shape: Vec<usize>,
    values: Vec<f32>,
    labels: Option<Vec<usize>>,
    classes: usize,
    units: Units,
}

impl Dataset {
    /// A set of `values.len() / shape.product()` samples; `labels`, if any, name the class of each, below `classes`.
    ///
    /// # Errors
    /// [`DataError::Shape`] if the numbers do not fill the samples or there are none, or labels and samples differ in
    /// number; [`DataError::Label`] if a label names no class; [`DataError::Units`] if the scale is not positive.
    pub fn new(
        shape: Vec<usize>,
        values: Vec<f32>,
        labels: Option<Vec<usize>>,
        classes: usize,
        units: Units,
    ) -> Result<Self, DataError> {
        let width = shape.iter().product::<usize>();
        let count = labels.as_ref().map_or(values.len() / width.max(1), Vec::len);
        if count == 0 || width == 0 || count * width != values.len() {
            return Err(DataError::Shape { values: values.len(), count, shape });
        }
        if let Some((index, &label)) = labels.iter().flatten().enumerate().find(|(_, label)| **label >= classes) {
            return Err(DataError::Label { index, label, classes });
        }
        let Units { offset, scale } = units;
        if !(offset.is_finite() && scale.is_finite() && scale > 0.0) {
            return Err(DataError::Units { offset, scale });
        }
        Ok(Self { shape, values, labels, classes, units })
    }

    /// The number of samples; never zero.
    #[must_use]
    pub fn count(&self) -> usize {
        self.values.len() / self.width()
    }

    /// The shape of one sample, without the batch.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The number of classes; 0 without labels.
    #[must_use]
    pub fn classes(&self) -> usize {
        if self.labels.is_some() { self.classes } else { 0 }
    }

    /// The units of the data and the model.
    #[must_use]
    pub fn units(&self) -> Units {
        self.units
    }

    /// The class of each sample.
    #[must_use]
    pub fn labels(&self) -> Option<&[usize]> {
        self.labels.as_deref()
    }

    /// One sample, in the data's units.
    ///
    /// # Panics
    /// Panics if `index` is out of range.
    #[must_use]
    pub fn sample(&self, index: usize) -> &[f32] {
        &self.values[index * self.width()..(index + 1) * self.width()]
    }

    /// The chosen samples, in the model's units.
    ///
    /// # Shapes
    /// - output: `[indices.len(), ...shape]`
    ///
    /// # Panics
    /// Panics if an index is out of range or `D` is not the rank of the shape plus one.
    #[must_use]
    pub fn batch<const D: usize>(&self, indices: &[usize], device: &Device) -> Tensor<D> {
        let values: Vec<f32> = indices.iter().flat_map(|&i| self.sample(i)).copied().collect();
        let mut shape = vec![indices.len()];
        shape.extend(&self.shape);
        self.units.to_model(Tensor::from_data(TensorData::new(values, shape), device))
    }

    fn width(&self) -> usize {
        self.shape.iter().product()
    }
}
