//! A U-Net for images: the convolutional backbone of diffusion models.

use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::nn::{GroupNorm, Linear};
use burn::tensor::{Device, Int, Tensor};
use serde::{Deserialize, Serialize};

use advect_kernels::silu;

use crate::attention::SelfAttention;
use crate::embedding::{ClassEmbedding, TimeEmbedding, add_class};
use crate::error::{NnError, counted, divides, even, positive, sized};
use crate::layers::{conv, join_channels, new_conv, new_norm, norm_silu, nothing, zeroed};
use crate::residual::{BlockShape, Conditioning, Resample, Resampling, ResidualBlock, Resize};

/// The shape of a [`UNet`].
///
/// ```
/// use advect_nn::{Conditioning, UNetConfig};
///
/// let config = UNetConfig::new(3, 64, vec![1, 2, 2])
///     .with_attention(vec![2, 4])
///     .with_conditioning(Conditioning::Add)
///     .with_classes(Some(10));
/// assert!(config.validate().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UNetConfig {
    /// The channels of the input: 1 for gray, 3 for color, 4 for the latents of an autoencoder.
    pub in_channels: usize,
    /// The channels of the output: as many as the input has, unless the network also predicts, say, a variance.
    pub out_channels: usize,
    /// The base width, and the number of sinusoidal time features (even). The embedding of time and class is four times
    /// as wide.
    pub channels: usize,
    /// For each level, from the finest to the coarsest, its channels in units of `channels`.
    /// Each level has half the resolution of the one before.
    pub multipliers: Vec<usize>,
    /// The residual blocks of each level on the way down; the way up has one more. Default: 2.
    #[serde(default = "default_blocks")]
    pub blocks: usize,
    /// The downsampling factors (1 is the input's resolution, then 2, 4, ..) of the levels that have attention after
    /// each block. The middle always has it. Default: none.
    #[serde(default)]
    pub attention: Vec<usize>,
    /// The channels of each attention head. Default: 32.
    #[serde(default = "default_head_channels")]
    pub head_channels: usize,
    /// The groups of each group normalization. Default: 32.
    #[serde(default = "default_groups")]
    pub groups: usize,
    /// The number of classes, for a class-conditional network. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<usize>,
    /// How time and class enter the residual blocks. Default: scale and shift.
    #[serde(default = "default_conditioning")]
    pub conditioning: Conditioning,
    /// How the resolution changes between the levels. Default: convolutions.
    #[serde(default = "default_resample")]
    pub resample: Resampling,
    /// What a time in `[0, 1]` is multiplied with before its sinusoidal features, which have angular frequencies from
    /// `time_scale` down to `time_scale` / 10,000. Default: 1000, the number of steps of the first diffusion models.
    #[serde(default = "default_time_scale")]
    pub time_scale: f64,
}

fn default_blocks() -> usize {
    2
}

fn default_head_channels() -> usize {
    32
}

fn default_groups() -> usize {
    32
}

fn default_conditioning() -> Conditioning {
    Conditioning::ScaleShift
}

fn default_resample() -> Resampling {
    Resampling::Conv
}

fn default_time_scale() -> f64 {
    1000.0
}

/// More levels than any image has octaves; keeps the downsampling factors representable.
const MAX_LEVELS: usize = 16;

/// The widths of the blocks of one level: what `init` builds and `num_params` counts.
#[derive(Debug)]
struct LevelPlan {
    /// The input's and the output's channels of each block.
    blocks: Vec<[usize; 2]>,
    /// The level's channels.
    channels: usize,
    attention: bool,
    resample: bool,
}

impl UNetConfig {
    /// An unconditional network for images of `in_channels` channels, with base width `channels` and one level for each
    /// multiplier.
    pub fn new(in_channels: usize, channels: usize, multipliers: Vec<usize>) -> Self {
        Self {
            in_channels,
            out_channels: in_channels,
            channels,
            multipliers,
            blocks: default_blocks(),
            attention: Vec::new(),
            head_channels: default_head_channels(),
            groups: default_groups(),
            classes: None,
            conditioning: default_conditioning(),
            resample: default_resample(),
            time_scale: default_time_scale(),
        }
    }

    /// For the 8x8 gray digits of UCI (10 classes): 1.1 million parameters, attention at 4x4.
    pub fn digits() -> Self {
        Self::new(1, 32, vec![1, 2]).with_attention(vec![2]).with_groups(8).with_classes(Some(10))
    }

    /// For CIFAR-10, unconditional: the 35.7 million parameters of Ho et al. 2020 in the variant that conditional flow
    /// matching is compared on (Tong et al. 2023, `unet_cifar10` of TorchCFM), without its dropout.
    pub fn cifar10() -> Self {
        Self::new(3, 128, vec![1, 2, 2, 2])
            .with_attention(vec![2])
            .with_head_channels(64)
            .with_conditioning(Conditioning::Add)
    }

    /// For ImageNet at 64x64, 1000 classes: the ADM network of Dhariwal and Nichol 2021 (296 million parameters), without
    /// its dropout and its learned variance.
    pub fn imagenet64() -> Self {
        Self::new(3, 192, vec![1, 2, 3, 4])
            .with_blocks(3)
            .with_attention(vec![2, 4, 8])
            .with_head_channels(64)
            .with_classes(Some(1000))
            .with_resample(Resampling::ResidualBlock)
    }

    /// Sets the channels of the output.
    pub fn with_out_channels(mut self, out_channels: usize) -> Self {
        self.out_channels = out_channels;
        self
    }

    /// Sets the residual blocks of each level.
    pub fn with_blocks(mut self, blocks: usize) -> Self {
        self.blocks = blocks;
        self
    }

    /// Sets the downsampling factors of the levels with attention.
    pub fn with_attention(mut self, attention: Vec<usize>) -> Self {
        self.attention = attention;
        self
    }

    /// Sets the channels of each attention head.
    pub fn with_head_channels(mut self, head_channels: usize) -> Self {
        self.head_channels = head_channels;
        self
    }

    /// Sets the groups of each group normalization.
    pub fn with_groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }

    /// Sets the number of classes.
    pub fn with_classes(mut self, classes: Option<usize>) -> Self {
        self.classes = classes;
        self
    }

    /// Sets how time and class enter the residual blocks.
    pub fn with_conditioning(mut self, conditioning: Conditioning) -> Self {
        self.conditioning = conditioning;
        self
    }

    /// Sets how the resolution changes between the levels.
    pub fn with_resample(mut self, resample: Resampling) -> Self {
        self.resample = resample;
        self
    }

    /// Sets what a time is multiplied with.
    pub fn with_time_scale(mut self, time_scale: f64) -> Self {
        self.time_scale = time_scale;
        self
    }

    /// Checks that the configuration describes a network.
    pub fn validate(&self) -> Result<(), NnError> {
        sized("in_channels", self.in_channels)?;
        sized("out_channels", self.out_channels)?;
        sized("channels", self.channels)?;
        counted("blocks", self.blocks)?;
        sized("head_channels", self.head_channels)?;
        sized("groups", self.groups)?;
        sized("classes", self.classes.unwrap_or(1))?;
        even("channels", self.channels)?;
        positive("time_scale", self.time_scale)?;
        if self.multipliers.len() > MAX_LEVELS {
            return Err(NnError::TooManyLevels { levels: self.multipliers.len(), max: MAX_LEVELS });
        }

        let factors: Vec<usize> = (0..self.multipliers.len()).map(|level| 1 << level).collect();
        if let Some(&factor) = self.attention.iter().find(|factor| !factors.contains(factor)) {
            return Err(NnError::NoSuchLevel { factor, factors });
        }
        // Input widths on the way up are sums of these, so dividing each level is enough.
        for (&multiplier, factor) in self.multipliers.iter().zip(factors) {
            sized("multipliers", multiplier)?;
            sized("multipliers * channels", multiplier * self.channels)?;
            divides("groups", self.groups, multiplier * self.channels, "a level")?;
            if self.attention.contains(&factor) {
                divides("head_channels", self.head_channels, multiplier * self.channels, "a level with attention")?;
            }
        }
        match self.multipliers.last() {
            Some(last) => divides("head_channels", self.head_channels, last * self.channels, "the middle"),
            None => Err(NnError::Empty { field: "multipliers" }),
        }
    }

    /// The levels on the way down, and those on the way up.
    fn plan(&self) -> (Vec<LevelPlan>, Vec<LevelPlan>) {
        let levels = self.multipliers.len();
        let level = |index: usize, blocks, resample| LevelPlan {
            blocks,
            channels: self.channels * self.multipliers[index],
            attention: self.attention.contains(&(1 << index)),
            resample,
        };

        let mut width = self.first(); // of what flows through
        let mut skips = vec![width]; // of what was remembered
        let mut down = Vec::new();
        for index in 0..levels {
            let to = self.channels * self.multipliers[index];
            let blocks = (0..self.blocks).map(|i| if i == 0 { [width, to] } else { [to, to] }).collect();
            width = to;
            skips.extend(vec![to; self.blocks]);
            let resample = index + 1 < levels;
            if resample {
                skips.push(to);
            }
            down.push(level(index, blocks, resample));
        }

        let mut up = Vec::new();
        for index in (0..levels).rev() {
            let to = self.channels * self.multipliers[index];
            let remembered = skips.split_off(skips.len() - self.blocks - 1);
            let blocks = remembered.into_iter().rev().enumerate();
            let blocks = blocks.map(|(i, skip)| if i == 0 { [width + skip, to] } else { [to + skip, to] }).collect();
            width = to;
            up.push(level(index, blocks, index > 0));
        }
        (down, up)
    }

    /// The width of the embedding of time and class.
    fn embedding(&self) -> usize {
        4 * self.channels
    }

    /// The channels of the finest level, after the first convolution and before the last; 0 without levels.
    fn first(&self) -> usize {
        self.channels * self.multipliers.first().copied().unwrap_or(0)
    }

    /// The channels of the middle; 0 without levels.
    fn middle(&self) -> usize {
        self.channels * self.multipliers.last().copied().unwrap_or(0)
    }

    /// The number of parameters, without making them.
    ///
    /// Meaningful for a configuration that [`validate`](Self::validate) accepts.
    pub fn num_params(&self) -> usize {
        let linear = |from: usize, to: usize| from * to + to;
        let conv = |from: usize, to: usize, kernel: usize| from * to * kernel * kernel + to;
        let norm = |channels: usize| 2 * channels;
        let attention = |c: usize| norm(c) + linear(c, 3 * c) + linear(c, c);
        let block = |from: usize, to: usize| {
            let modulation = match self.conditioning {
                Conditioning::Add => to,
                Conditioning::ScaleShift => 2 * to,
            };
            let shortcut = if from == to { 0 } else { conv(from, to, 1) };
            norm(from)
                + conv(from, to, 3)
                + linear(self.embedding(), modulation)
                + norm(to)
                + conv(to, to, 3)
                + shortcut
        };
        let level = |plan: &LevelPlan| {
            let blocks: usize = plan.blocks.iter().map(|&[from, to]| block(from, to)).sum();
            let attentions = if plan.attention { plan.blocks.len() * attention(plan.channels) } else { 0 };
            let resample = match self.resample {
                _ if !plan.resample => 0,
                Resampling::Conv => conv(plan.channels, plan.channels, 3),
                Resampling::ResidualBlock => block(plan.channels, plan.channels),
            };
            blocks + attentions + resample
        };

        let embedding = linear(self.channels, self.embedding())
            + linear(self.embedding(), self.embedding())
            + self.classes.map_or(0, |classes| (classes + 1) * self.embedding());
        let (down, up) = self.plan();
        let levels: usize = down.iter().chain(&up).map(level).sum();
        let middle = 2 * block(self.middle(), self.middle()) + attention(self.middle());
        conv(self.in_channels, self.first(), 3)
            + embedding
            + levels
            + middle
            + norm(self.first())
            + conv(self.first(), self.out_channels, 3)
    }

    /// A network with random weights. Each residual branch starts at zero, and so does the output.
    pub fn init(&self, device: &Device) -> Result<UNet, NnError> {
        self.validate()?;
        let shape = BlockShape { embedding: self.embedding(), groups: self.groups, conditioning: self.conditioning };
        let block = |[from, to]: [usize; 2]| ResidualBlock::new(from, to, shape, Resize::Keep, device);
        let attention = |channels| SelfAttention::new(channels, self.groups, self.head_channels, device);
        let level = |plan: &LevelPlan, resize: Resize| Level {
            blocks: plan.blocks.iter().copied().map(block).collect(),
            attention: if plan.attention {
                plan.blocks.iter().map(|_| attention(plan.channels)).collect()
            } else {
                Vec::new()
            },
            resample: plan.resample.then(|| Resample::new(self.resample, plan.channels, shape, resize, device)),
        };

        let (down, up) = self.plan();
        let (first, middle) = (self.first(), self.middle());
        Ok(initialize(UNet {
            time: TimeEmbedding::new(self.channels, self.embedding(), self.time_scale, device),
            class: self.classes.map(|classes| ClassEmbedding::new(classes, self.embedding(), device)),
            conv_in: new_conv(self.in_channels, first, 3, 1, device),
            down: down.iter().map(|plan| level(plan, Resize::Down)).collect(),
            middle: Middle {
                block1: block([middle, middle]),
                attention: attention(middle),
                block2: block([middle, middle]),
            },
            up: up.iter().map(|plan| level(plan, Resize::Up)).collect(),
            norm_out: new_norm(self.groups, first, device),
            conv_out: new_conv(first, self.out_channels, 3, 1, device),
        }))
    }
}

/// Everything about a new network's weights that differs from Burn's defaults, which are PyTorch's.
///
/// The last layer of each residual branch (a block's second convolution, an attention's output) and of the network is
/// zero, weight and bias. So each branch is the identity at first and the depth does not amplify signal or gradient
/// (Ho et al. 2020; `zero_module` of guided-diffusion), and the first loss is that of the prediction "zero".
fn initialize(mut unet: UNet) -> UNet {
    fn zero_conv(layer: &mut Conv2d) {
        layer.weight = zeroed(&layer.weight);
        layer.bias = layer.bias.as_ref().map(zeroed);
    }
    fn zero_linear(layer: &mut Linear) {
        layer.weight = zeroed(&layer.weight);
        layer.bias = layer.bias.as_ref().map(zeroed);
    }

    for level in unet.down.iter_mut().chain(&mut unet.up) {
        level.blocks.iter_mut().for_each(|block| zero_conv(&mut block.conv2));
        level.attention.iter_mut().for_each(|attention| zero_linear(&mut attention.out));
        if let Some(Resample::Block(block)) = &mut level.resample {
            zero_conv(&mut block.conv2);
        }
    }
    zero_conv(&mut unet.middle.block1.conv2);
    zero_linear(&mut unet.middle.attention.out);
    zero_conv(&mut unet.middle.block2.conv2);
    zero_conv(&mut unet.conv_out);
    unet
}

/// The blocks at one resolution, on the way down or up.
#[derive(Module, Debug)]
pub struct Level {
    /// The residual blocks.
    pub blocks: Vec<ResidualBlock>,
    /// An attention after each block, or none.
    pub attention: Vec<SelfAttention>,
    /// To the next level, but for the last one.
    pub resample: Option<Resample>,
}

impl Level {
    /// A block, and the attention after it.
    fn block(&self, index: usize, x: Tensor<4>, embedding: &Tensor<2>) -> Tensor<4> {
        let x = self.blocks[index].forward(x, embedding.clone()); // [batch, channels, height, width]
        match self.attention.get(index) {
            Some(attention) => attention.forward(x), // [batch, channels, height, width]
            None => x,                               // [batch, channels, height, width]
        }
    }

    /// Down: remembers what each block and the step to the next level give.
    fn descend(&self, mut x: Tensor<4>, embedding: &Tensor<2>, skips: &mut Vec<Tensor<4>>) -> Tensor<4> {
        for index in 0..self.blocks.len() {
            x = self.block(index, x, embedding); // [batch, channels, height, width]
            skips.push(x.clone());
        }
        if let Some(resample) = &self.resample {
            x = resample.down(x, embedding.clone()); // [batch, channels, ceil(height / 2), ceil(width / 2)]
            skips.push(x.clone());
        }
        x // [batch, channels, height', width']
    }

    /// Up: each block sees what was last remembered beside what flows through.
    fn ascend(&self, mut x: Tensor<4>, embedding: &Tensor<2>, skips: &mut Vec<Tensor<4>>) -> Tensor<4> {
        let remembered = skips.split_off(skips.len().saturating_sub(self.blocks.len()));
        for (index, skip) in remembered.into_iter().rev().enumerate() {
            x = join_channels(x, skip); // [batch, channels + skip's, height, width]
            x = self.block(index, x, embedding); // [batch, channels, height, width]
        }
        if let (Some(resample), Some(next)) = (&self.resample, skips.last()) {
            let [_, _, height, width] = next.dims();
            x = resample.up(x, embedding.clone(), [height, width]); // [batch, channels, height', width']
        }
        x // [batch, channels, height', width']
    }
}

/// What a U-Net does at its coarsest level: a block, attention, a block.
#[derive(Module, Debug)]
pub struct Middle {
    /// The first block.
    pub block1: ResidualBlock,
    /// Attention between the two.
    pub attention: SelfAttention,
    /// The second block.
    pub block2: ResidualBlock,
}

/// A U-Net: residual blocks down to a coarse resolution and up again, each level up seeing what its level down gave.
///
/// The ADM network of Dhariwal and Nichol 2021 (guided-diffusion's `UNetModel`) and the networks before it (Ho et al.
/// 2020, Nichol and Dhariwal 2021), as diffusers' `UNet2DModel`; the tests compare it with the latter.
#[derive(Module, Debug)]
pub struct UNet {
    /// The time as a vector.
    pub time: TimeEmbedding,
    /// The class as a vector.
    pub class: Option<ClassEmbedding>,
    /// 3x3, from the image.
    pub conv_in: Conv2d,
    /// From the finest level to the coarsest.
    pub down: Vec<Level>,
    /// The coarsest level.
    pub middle: Middle,
    /// From the coarsest level to the finest.
    pub up: Vec<Level>,
    /// Before the last convolution.
    pub norm_out: GroupNorm,
    /// 3x3, to the output, zero at first.
    pub conv_out: Conv2d,
}

impl UNet {
    /// The network's output for images `x` at times `t`.
    ///
    /// What the output means (a velocity, noise, a score) is the training objective's choice. There are no conditions but
    /// time and class; of the backbones, only a [`DiT`](crate::DiT) takes a vector of yours beside them.
    ///
    /// # Shapes
    ///
    /// - `x`: `[batch, in_channels, height, width]`. Any height and width work with [`Resampling::Conv`], whose way down
    ///   rounds odd sizes up and whose way up drops the surplus row or column before its convolution;
    ///   [`Resampling::ResidualBlock`] needs multiples of 2^(levels - 1).
    /// - `t`: `[batch]`, in `[0, 1]`; or `[1]`, one time for the whole batch, which is cheaper
    /// - `class`: `[batch]`, each in `0 ..= classes`, `classes` being the null class; `None` is the null class for every row
    /// - output: `[batch, out_channels, height, width]`
    ///
    /// # Panics
    ///
    /// If the shapes disagree, if `class` is given to a network without classes, or if the height or width cannot be
    /// halved as often as [`Resampling::ResidualBlock`] needs.
    pub fn forward(&self, x: Tensor<4>, t: Tensor<1>, class: Option<Tensor<1, Int>>) -> Tensor<4> {
        let [batch, _, height, width] = x.dims();
        if batch == 0 {
            return nothing(&x, [0, self.conv_out.weight.dims()[0], height, width]); // [0, out_channels, height, width]
        }
        let embedding = add_class(self.time.forward(t), self.class.as_ref(), class); // [batch or 1, embedding]
        let embedding = silu(embedding); // [batch or 1, embedding]: every block starts with it

        let mut x = conv(&self.conv_in, x); // [batch, channels * multiplier, height, width]
        let mut skips = vec![x.clone()];
        for level in &self.down {
            x = level.descend(x, &embedding, &mut skips); // [batch, channels * multiplier, height', width']
        }
        x = self.middle.block1.forward(x, embedding.clone()); // [batch, channels * multiplier, height', width']
        x = self.middle.attention.forward(x); // [batch, channels * multiplier, height', width']
        x = self.middle.block2.forward(x, embedding.clone()); // [batch, channels * multiplier, height', width']
        for level in &self.up {
            x = level.ascend(x, &embedding, &mut skips); // [batch, channels * multiplier, height', width']
        }
        let x = norm_silu(&self.norm_out, x); // [batch, channels * multiplier, height, width]
        conv(&self.conv_out, x) // [batch, out_channels, height, width]
    }
}
