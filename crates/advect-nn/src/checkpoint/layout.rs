//! The table that maps a checkpoint's names to ours.

use std::collections::BTreeMap;

use burn::tensor::TensorData;

/// How a checkpoint of PyTorch names the parameters of one of our networks: a table to be read.
///
/// The first row that matches a parameter of ours says where its numbers are. Every parameter needs a row; a row that
/// matches nothing (of a variant that this network is not) is fine.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// Whose names they are, for messages: "UNet2DModel of diffusers".
    pub name: &'static str,
    /// The parameters.
    pub rows: &'static [Row],
    /// What they store and we compute.
    pub constants: &'static [Constant],
}

/// One line of a [`Layout`].
///
/// A `*` stands for one whole segment of a name (`3`, `weight`), the same on both sides, in order:
/// `blocks.*.qkv.weight` is found at `blocks.*.attn.qkv.weight`. One `*` more on their side stands for any index: the
/// checkpoint has a copy of the weight in each of its blocks, all equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Our parameter: the path of fields as Burn's visitor spells it. The parameters of norms are `gamma` and `beta`, a
    /// variant of an enum is a segment.
    pub ours: &'static str,
    /// Their tensor; or several, which are joined along the output axis in equal parts (`to_q`, `to_k`, `to_v`).
    pub theirs: &'static [&'static str],
    /// How the numbers are arranged.
    pub form: Form,
}

impl Row {
    /// A row of [`Form::Same`].
    pub const fn same(ours: &'static str, theirs: &'static [&'static str]) -> Self {
        Self { ours, theirs, form: Form::Same }
    }

    /// A row of [`Form::Linear`].
    pub const fn linear(ours: &'static str, theirs: &'static [&'static str]) -> Self {
        Self { ours, theirs, form: Form::Linear }
    }

    /// A row of [`Form::Conv1x1`].
    pub const fn conv1x1(ours: &'static str, theirs: &'static [&'static str]) -> Self {
        Self { ours, theirs, form: Form::Conv1x1 }
    }

    /// A row of [`Form::Swapped`].
    pub const fn swapped(ours: &'static str, theirs: &'static [&'static str]) -> Self {
        Self { ours, theirs, form: Form::Swapped }
    }
}

/// How their numbers are arranged, compared with ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The same shape: convolutions, vectors, norms, embeddings.
    Same,
    /// Theirs is `[out, in]`, ours `[in, out]`.
    Linear,
    /// Theirs is a convolution `[out, in, 1, 1]`, ours a linear layer `[in, out]`.
    Conv1x1,
    /// A linear layer's weight (theirs is `[out, in]`, ours `[in, out]`) or bias whose two halves of outputs come in the
    /// other order: scale and shift there, shift and scale here.
    Swapped,
}

/// A tensor of theirs that we compute rather than learn, such as sinusoidal positions.
///
/// Loading accepts it, and compares its values with ours; it may be absent. Export writes it.
#[derive(Debug, Clone, Copy)]
pub struct Constant {
    /// Its name, without `*`.
    pub theirs: &'static str,
    /// Its value, in their arrangement; `None` if what is known does not determine it (on export it is then left out,
    /// on load it is an error).
    pub value: fn(&Known<'_>) -> Option<TensorData>,
}

/// What the value of a [`Constant`] may depend on.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    pub(crate) ours: &'a BTreeMap<String, Vec<usize>>,
    pub(crate) theirs: Option<&'a [usize]>,
}

impl Known<'_> {
    /// The shape of a parameter of ours, by its path.
    pub fn ours(&self, name: &str) -> Option<&[usize]> {
        self.ours.get(name).map(Vec::as_slice)
    }

    /// The shape that the constant has in the checkpoint; `None` on export.
    pub fn theirs(&self) -> Option<&[usize]> {
        self.theirs
    }
}

/// What each `*` of `pattern` stands for in `name`, if it matches.
pub(crate) fn captures<'a>(pattern: &str, name: &'a str) -> Option<Vec<&'a str>> {
    let (mut wanted, mut found) = (pattern.split('.'), name.split('.'));
    let mut captured = Vec::new();
    loop {
        match (wanted.next(), found.next()) {
            (None, None) => return Some(captured),
            (Some("*"), Some(segment)) => captured.push(segment),
            (Some(literal), Some(segment)) if literal == segment => {}
            _ => return None,
        }
    }
}

/// The pattern with its first `*` replaced, in order; those beyond `captured` stay.
pub(crate) fn fill(pattern: &str, captured: &[&str]) -> String {
    let mut captured = captured.iter();
    let segments = pattern.split('.').map(|segment| match segment {
        "*" => captured.next().copied().unwrap_or("*"),
        literal => literal,
    });
    segments.collect::<Vec<_>>().join(".")
}
