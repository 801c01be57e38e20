//! What the parameters of an autoencoder are called in published checkpoints.

use crate::autoencoder::AutoencoderKl;
use crate::checkpoint::{Layout, Row};

/// The names of diffusers; only those of the attention changed, in version 0.17.
macro_rules! diffusers {
    ($to_q:literal, $to_k:literal, $to_v:literal, $to_out:literal) => {
        &[
            // The convolutions at the ends.
            Row::same("*.conv_in.*", &["*.conv_in.*"]),
            Row::same("*.norm_out.gamma", &["*.conv_norm_out.weight"]),
            Row::same("*.norm_out.beta", &["*.conv_norm_out.bias"]),
            Row::same("*.conv_out.*", &["*.conv_out.*"]),
            Row::same("quant_conv.*", &["quant_conv.*"]),
            Row::same("post_quant_conv.*", &["post_quant_conv.*"]),
            // The encoder's levels.
            Row::same("encoder.down.*.blocks.*.*.gamma", &["encoder.down_blocks.*.resnets.*.*.weight"]),
            Row::same("encoder.down.*.blocks.*.*.beta", &["encoder.down_blocks.*.resnets.*.*.bias"]),
            Row::same("encoder.down.*.blocks.*.shortcut.*", &["encoder.down_blocks.*.resnets.*.conv_shortcut.*"]),
            Row::same("encoder.down.*.blocks.*.*.*", &["encoder.down_blocks.*.resnets.*.*.*"]),
            Row::same("encoder.down.*.resample.*", &["encoder.down_blocks.*.downsamplers.0.conv.*"]),
            // The decoder's levels.
            Row::same("decoder.up.*.blocks.*.*.gamma", &["decoder.up_blocks.*.resnets.*.*.weight"]),
            Row::same("decoder.up.*.blocks.*.*.beta", &["decoder.up_blocks.*.resnets.*.*.bias"]),
            Row::same("decoder.up.*.blocks.*.shortcut.*", &["decoder.up_blocks.*.resnets.*.conv_shortcut.*"]),
            Row::same("decoder.up.*.blocks.*.*.*", &["decoder.up_blocks.*.resnets.*.*.*"]),
            Row::same("decoder.up.*.resample.*", &["decoder.up_blocks.*.upsamplers.0.conv.*"]),
            // The middle of both.
            Row::same("*.middle.block1.*.gamma", &["*.mid_block.resnets.0.*.weight"]),
            Row::same("*.middle.block1.*.beta", &["*.mid_block.resnets.0.*.bias"]),
            Row::same("*.middle.block1.*.*", &["*.mid_block.resnets.0.*.*"]),
            Row::same("*.middle.block2.*.gamma", &["*.mid_block.resnets.1.*.weight"]),
            Row::same("*.middle.block2.*.beta", &["*.mid_block.resnets.1.*.bias"]),
            Row::same("*.middle.block2.*.*", &["*.mid_block.resnets.1.*.*"]),
            Row::same("*.middle.attention.norm.gamma", &["*.mid_block.attentions.0.group_norm.weight"]),
            Row::same("*.middle.attention.norm.beta", &["*.mid_block.attentions.0.group_norm.bias"]),
            Row::linear(
                "*.middle.attention.qkv.weight",
                &[
                    concat!("*.mid_block.attentions.0.", $to_q, ".weight"),
                    concat!("*.mid_block.attentions.0.", $to_k, ".weight"),
                    concat!("*.mid_block.attentions.0.", $to_v, ".weight"),
                ],
            ),
            Row::same(
                "*.middle.attention.qkv.bias",
                &[
                    concat!("*.mid_block.attentions.0.", $to_q, ".bias"),
                    concat!("*.mid_block.attentions.0.", $to_k, ".bias"),
                    concat!("*.mid_block.attentions.0.", $to_v, ".bias"),
                ],
            ),
            Row::linear("*.middle.attention.out.weight", &[concat!("*.mid_block.attentions.0.", $to_out, ".weight")]),
            Row::same("*.middle.attention.out.bias", &[concat!("*.mid_block.attentions.0.", $to_out, ".bias")]),
        ]
    };
}

impl AutoencoderKl {
    /// `AutoencoderKL` of diffusers, as it writes now.
    pub const DIFFUSERS: Layout = Layout {
        name: "AutoencoderKL of diffusers",
        rows: diffusers!("to_q", "to_k", "to_v", "to_out.0"),
        constants: &[],
    };

    /// `AutoencoderKL` of diffusers before 0.17, whose names are still in the published files of Stable Diffusion 1.x
    /// and `sd-vae-ft-mse`.
    pub const DIFFUSERS_OLD: Layout = Layout {
        name: "AutoencoderKL of diffusers before 0.17",
        rows: diffusers!("query", "key", "value", "proj_attn"),
        constants: &[],
    };

    /// `AutoencoderKL` of CompVis (latent-diffusion), Stability AI and Black Forest Labs, of four levels, like every
    /// [preset](crate::AutoencoderKlConfig::sd1) but that for MNIST.
    ///
    /// In a checkpoint of all of Stable Diffusion these names come after `first_stage_model.`. The decoder's levels
    /// count from the finest, which runs last.
    pub const COMPVIS: Layout = Layout {
        name: "AutoencoderKL of CompVis, four levels",
        rows: &[
            // The convolutions at the ends.
            Row::same("*.conv_in.*", &["*.conv_in.*"]),
            Row::same("*.norm_out.gamma", &["*.norm_out.weight"]),
            Row::same("*.norm_out.beta", &["*.norm_out.bias"]),
            Row::same("*.conv_out.*", &["*.conv_out.*"]),
            Row::same("quant_conv.*", &["quant_conv.*"]),
            Row::same("post_quant_conv.*", &["post_quant_conv.*"]),
            // The encoder's levels.
            Row::same("encoder.down.*.blocks.*.*.gamma", &["encoder.down.*.block.*.*.weight"]),
            Row::same("encoder.down.*.blocks.*.*.beta", &["encoder.down.*.block.*.*.bias"]),
            Row::same("encoder.down.*.blocks.*.shortcut.*", &["encoder.down.*.block.*.nin_shortcut.*"]),
            Row::same("encoder.down.*.blocks.*.*.*", &["encoder.down.*.block.*.*.*"]),
            Row::same("encoder.down.*.resample.*", &["encoder.down.*.downsample.conv.*"]),
            // The decoder's levels, from the coarsest (theirs 3) to the finest (theirs 0).
            Row::same("decoder.up.0.blocks.*.*.gamma", &["decoder.up.3.block.*.*.weight"]),
            Row::same("decoder.up.0.blocks.*.*.beta", &["decoder.up.3.block.*.*.bias"]),
            Row::same("decoder.up.0.blocks.*.shortcut.*", &["decoder.up.3.block.*.nin_shortcut.*"]),
            Row::same("decoder.up.0.blocks.*.*.*", &["decoder.up.3.block.*.*.*"]),
            Row::same("decoder.up.0.resample.*", &["decoder.up.3.upsample.conv.*"]),
            Row::same("decoder.up.1.blocks.*.*.gamma", &["decoder.up.2.block.*.*.weight"]),
            Row::same("decoder.up.1.blocks.*.*.beta", &["decoder.up.2.block.*.*.bias"]),
            Row::same("decoder.up.1.blocks.*.shortcut.*", &["decoder.up.2.block.*.nin_shortcut.*"]),
            Row::same("decoder.up.1.blocks.*.*.*", &["decoder.up.2.block.*.*.*"]),
            Row::same("decoder.up.1.resample.*", &["decoder.up.2.upsample.conv.*"]),
            Row::same("decoder.up.2.blocks.*.*.gamma", &["decoder.up.1.block.*.*.weight"]),
            Row::same("decoder.up.2.blocks.*.*.beta", &["decoder.up.1.block.*.*.bias"]),
            Row::same("decoder.up.2.blocks.*.shortcut.*", &["decoder.up.1.block.*.nin_shortcut.*"]),
            Row::same("decoder.up.2.blocks.*.*.*", &["decoder.up.1.block.*.*.*"]),
            Row::same("decoder.up.2.resample.*", &["decoder.up.1.upsample.conv.*"]),
            Row::same("decoder.up.3.blocks.*.*.gamma", &["decoder.up.0.block.*.*.weight"]),
            Row::same("decoder.up.3.blocks.*.*.beta", &["decoder.up.0.block.*.*.bias"]),
            Row::same("decoder.up.3.blocks.*.shortcut.*", &["decoder.up.0.block.*.nin_shortcut.*"]),
            Row::same("decoder.up.3.blocks.*.*.*", &["decoder.up.0.block.*.*.*"]),
            // The middle of both.
            Row::same("*.middle.block1.*.gamma", &["*.mid.block_1.*.weight"]),
            Row::same("*.middle.block1.*.beta", &["*.mid.block_1.*.bias"]),
            Row::same("*.middle.block1.*.*", &["*.mid.block_1.*.*"]),
            Row::same("*.middle.block2.*.gamma", &["*.mid.block_2.*.weight"]),
            Row::same("*.middle.block2.*.beta", &["*.mid.block_2.*.bias"]),
            Row::same("*.middle.block2.*.*", &["*.mid.block_2.*.*"]),
            Row::same("*.middle.attention.norm.gamma", &["*.mid.attn_1.norm.weight"]),
            Row::same("*.middle.attention.norm.beta", &["*.mid.attn_1.norm.bias"]),
            Row::conv1x1(
                "*.middle.attention.qkv.weight",
                &["*.mid.attn_1.q.weight", "*.mid.attn_1.k.weight", "*.mid.attn_1.v.weight"],
            ),
            Row::same(
                "*.middle.attention.qkv.bias",
                &["*.mid.attn_1.q.bias", "*.mid.attn_1.k.bias", "*.mid.attn_1.v.bias"],
            ),
            Row::conv1x1("*.middle.attention.out.weight", &["*.mid.attn_1.proj_out.weight"]),
            Row::same("*.middle.attention.out.bias", &["*.mid.attn_1.proj_out.bias"]),
        ],
        constants: &[],
    };
}
