use crate::optimizer::{Memory, Update, loss_and_norm, ordered};
use crate::{AdamW, Ema, LearningRate, TrainError};
use burn::module::Module;
use burn::tensor::Tensor;
use std::ops::ControlFlow;

/// Maps (model, batch) to a loss of one number. Everything random comes keyed with the batch.
///
/// Closures `|model: &M, batch: &B| -> Result<Tensor<1>, TrainError>` are objectives.
pub trait Objective<M, B> {
    /// The loss.
    ///
    /// # Shapes
    /// - output: `[1]`
    ///
    /// # Errors
    /// Whatever the path refuses.
    fn loss(&self, model: &M, batch: &B) -> Result<Tensor<1>, TrainError>;

    /// The loss of a [`Trainer`]'s step, which takes gradients in half precision as they are. An objective whose network computes in half precision may save their casts here; what it gives is the same
    /// as [`loss`](Self::loss).
    ///
    /// # Errors
    /// As for [`loss`](Self::loss).
    fn loss_of_step(&self, model: &M, batch: &B) -> Result<Tensor<1>, TrainError> {
        self.loss(model, batch)
    }

    /// What the loss is multiplied with before the backward pass, against gradients too small for the numbers that the
    /// network computes with; the trainer divides by it again. A power of two, so that nothing is rounded by it.
    fn loss_scale(&self) -> f64 {
        1.0
    }
}

impl<M, B, F: Fn(&M, &B) -> Result<Tensor<1>, TrainError>> Objective<M, B> for F {
    fn loss(&self, model: &M, batch: &B) -> Result<Tensor<1>, TrainError> {
        self(model, batch)
    }
}

/// How a run is optimized.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// Steps in all, those before a resume included.
    pub steps: u64,
    /// The learning rate of each step.
    pub rate: LearningRate,
    /// The optimizer.
    pub optimizer: AdamW,
    /// Gradients whose norm (of all parameters together) is larger are scaled down to it; infinite for no clipping.
    pub clip_norm: f64,
    /// The average of the weights.
    pub ema: Ema,
}

impl Plan {
    /// What the parts with constructors of their own have not checked yet.
    fn validate(&self) -> Result<(), TrainError> {
        self.optimizer.validate()?;
        if self.clip_norm > 0.0 {
            Ok(())
        } else {
            Err(TrainError::Range { name: "clip norm", value: self.clip_norm, range: "> 0; infinite for no clipping" })
        }
    }
}

/// What happened in one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Report {
    /// The step, counted from 0.
    pub step: u64,
    /// The loss of its batch, before the update.
    pub loss: f64,
    /// The norm of the gradient, before clipping.
    pub gradient_norm: f64,
    /// The learning rate.
    pub rate: f64,
}

/// A model in training: all that one step hands to the next.
#[derive(Debug, Clone)]
pub struct Trainer<M> {
    /// The model, under autodiff.
    pub model: M,
    /// Steps done.
    pub step: u64,
    pub(crate) memory: Memory,
}

impl<M: Module> Trainer<M> {
    /// A fresh start. The model must live on an autodiff device.
    #[must_use]
    pub fn new(model: M) -> Self {
        let memory = Memory::new(&model);
        Self { model, step: 0, memory }
    }

    /// The model with the averaged weights, outside autodiff: for validation and sampling.
    #[must_use]
    pub fn averaged(&self) -> M {
        self.memory.averaged(&self.model)
    }

    /// One step: loss, gradient, clip, AdamW, EMA. After an error everything is as it was before.
    ///
    /// # Errors
    /// [`TrainError::NotFinite`] for a loss or gradient that is not a number, [`TrainError::Range`] for a plan out of
    /// range, or the objective's error.
    pub fn step<B>(&mut self, objective: &impl Objective<M, B>, batch: &B, plan: &Plan) -> Result<Report, TrainError> {
        plan.validate()?;
        let step = self.step;
        let loss = objective.loss_of_step(&self.model, batch)?;
        let scale = objective.loss_scale();
        let gradients = if scale == 1.0 { loss.backward() } else { (loss.clone() * scale).backward() };
        let gradients = ordered(&self.model, gradients);
        let (value, norm) = loss_and_norm(loss, &gradients)?;
        let norm = norm / scale;
        for (what, value) in [("loss", value), ("gradient norm", norm)] {
            if !value.is_finite() {
                return Err(TrainError::NotFinite { what, value, step });
            }
        }
        let rate = plan.rate.at(step);
        let update = Update {
            optimizer: plan.optimizer,
            gradients,
            factor: if norm > plan.clip_norm { plan.clip_norm / norm } else { 1.0 } / scale,
            rate,
            updates: step,
            ema: plan.ema,
            memory: &mut self.memory,
        };
        update.apply(&mut self.model);
        self.step += 1;
        Ok(Report { step, loss: value, gradient_norm: norm, rate })
    }
}

/// The training loop. Copy it, if yours must differ.
///
/// `source` makes the batch of a step: a function of the step alone, so that a run resumes without any state of the
/// data. `observe` sees every step (progress, validation, checkpoints) and may end the run early.
///
/// # Errors
/// The first error of a step or of `observe`; what is on disk then is the last checkpoint.
pub fn train<M: Module, B, E: From<TrainError>>(
    mut trainer: Trainer<M>,
    objective: &impl Objective<M, B>,
    mut source: impl FnMut(u64) -> B,
    plan: &Plan,
    mut observe: impl FnMut(&Trainer<M>, Report) -> Result<ControlFlow<()>, E>,
) -> Result<Trainer<M>, E> {
    while trainer.step < plan.steps {
        let batch = source(trainer.step);
        let report = trainer.step(objective, &batch, plan)?;
        if observe(&trainer, report)?.is_break() {
            break;
        }
    }
    Ok(trainer)
}
