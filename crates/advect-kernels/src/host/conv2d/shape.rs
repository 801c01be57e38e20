//! The sizes of a convolution.

/// The sizes of a convolution of `[batch, channels_in, input]` with `[channels_out, channels_in, kernel]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conv2dShape {
    pub batch: usize,
    pub channels_in: usize,
    pub channels_out: usize,
    pub input: [usize; 2],
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub padding: [usize; 2],
    pub output: [usize; 2],
}

impl Conv2dShape {
    /// None where there is no convolution: sizes that do not fit together, a stride of zero, a kernel larger than the padded image.
    pub(crate) fn new(x: [usize; 4], weight: [usize; 4], stride: [usize; 2], padding: [usize; 2]) -> Option<Self> {
        let output = |i: usize| {
            let room = (x[2 + i] + 2 * padding[i]).checked_sub(weight[2 + i])?;
            room.checked_div(stride[i]).map(|steps| steps + 1)
        };
        if x[1] != weight[1] || weight.contains(&0) || x[1..].contains(&0) {
            return None;
        }
        Some(Self {
            batch: x[0],
            channels_in: x[1],
            channels_out: weight[0],
            input: [x[2], x[3]],
            kernel: [weight[2], weight[3]],
            stride,
            padding,
            output: [output(0)?, output(1)?],
        })
    }
}
