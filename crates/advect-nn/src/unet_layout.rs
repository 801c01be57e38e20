//! How diffusers names the parameters of a U-Net.

use crate::UNet;
use crate::checkpoint::{Layout, Row};

impl UNet {
    /// The names of diffusers' `UNet2DModel`.
    pub const LAYOUT: Layout = Layout { name: "UNet2DModel of diffusers", rows: ROWS, constants: &[] };
}

const ROWS: &[Row] = &[
    //          ours                                       diffusers
    Row::linear("time.*.weight", &["time_embedding.*.weight"]),
    Row::same("time.*.bias", &["time_embedding.*.bias"]),
    Row::same("class.table.weight", &["class_embedding.weight"]),
    Row::same("conv_in.*", &["conv_in.*"]),
    Row::same("norm_out.gamma", &["conv_norm_out.weight"]),
    Row::same("norm_out.beta", &["conv_norm_out.bias"]),
    Row::same("conv_out.*", &["conv_out.*"]),
    // residual blocks on the way down
    Row::same("down.*.blocks.*.*.gamma", &["down_blocks.*.resnets.*.*.weight"]),
    Row::same("down.*.blocks.*.*.beta", &["down_blocks.*.resnets.*.*.bias"]),
    Row::linear("down.*.blocks.*.embedding.weight", &["down_blocks.*.resnets.*.time_emb_proj.weight"]),
    Row::same("down.*.blocks.*.embedding.bias", &["down_blocks.*.resnets.*.time_emb_proj.bias"]),
    Row::same("down.*.blocks.*.shortcut.*", &["down_blocks.*.resnets.*.conv_shortcut.*"]),
    Row::same("down.*.blocks.*.*.*", &["down_blocks.*.resnets.*.*.*"]),
    // their attention
    Row::same("down.*.attention.*.norm.gamma", &["down_blocks.*.attentions.*.group_norm.weight"]),
    Row::same("down.*.attention.*.norm.beta", &["down_blocks.*.attentions.*.group_norm.bias"]),
    Row::linear(
        "down.*.attention.*.qkv.weight",
        &[
            "down_blocks.*.attentions.*.to_q.weight",
            "down_blocks.*.attentions.*.to_k.weight",
            "down_blocks.*.attentions.*.to_v.weight",
        ],
    ),
    Row::same(
        "down.*.attention.*.qkv.bias",
        &[
            "down_blocks.*.attentions.*.to_q.bias",
            "down_blocks.*.attentions.*.to_k.bias",
            "down_blocks.*.attentions.*.to_v.bias",
        ],
    ),
    Row::linear("down.*.attention.*.out.weight", &["down_blocks.*.attentions.*.to_out.0.weight"]),
    Row::same("down.*.attention.*.out.bias", &["down_blocks.*.attentions.*.to_out.0.bias"]),
    // the step to the next level: a convolution, or a residual block
    Row::same("down.*.resample.Conv.*", &["down_blocks.*.downsamplers.0.conv.*"]),
    Row::same("down.*.resample.Block.*.gamma", &["down_blocks.*.downsamplers.0.*.weight"]),
    Row::same("down.*.resample.Block.*.beta", &["down_blocks.*.downsamplers.0.*.bias"]),
    Row::linear("down.*.resample.Block.embedding.weight", &["down_blocks.*.downsamplers.0.time_emb_proj.weight"]),
    Row::same("down.*.resample.Block.embedding.bias", &["down_blocks.*.downsamplers.0.time_emb_proj.bias"]),
    Row::same("down.*.resample.Block.*.*", &["down_blocks.*.downsamplers.0.*.*"]),
    // the middle
    Row::same("middle.attention.norm.gamma", &["mid_block.attentions.0.group_norm.weight"]),
    Row::same("middle.attention.norm.beta", &["mid_block.attentions.0.group_norm.bias"]),
    Row::linear(
        "middle.attention.qkv.weight",
        &[
            "mid_block.attentions.0.to_q.weight",
            "mid_block.attentions.0.to_k.weight",
            "mid_block.attentions.0.to_v.weight",
        ],
    ),
    Row::same(
        "middle.attention.qkv.bias",
        &["mid_block.attentions.0.to_q.bias", "mid_block.attentions.0.to_k.bias", "mid_block.attentions.0.to_v.bias"],
    ),
    Row::linear("middle.attention.out.weight", &["mid_block.attentions.0.to_out.0.weight"]),
    Row::same("middle.attention.out.bias", &["mid_block.attentions.0.to_out.0.bias"]),
    Row::same("middle.block1.*.gamma", &["mid_block.resnets.0.*.weight"]),
    Row::same("middle.block1.*.beta", &["mid_block.resnets.0.*.bias"]),
    Row::linear("middle.block1.embedding.weight", &["mid_block.resnets.0.time_emb_proj.weight"]),
    Row::same("middle.block1.embedding.bias", &["mid_block.resnets.0.time_emb_proj.bias"]),
    Row::same("middle.block1.*.*", &["mid_block.resnets.0.*.*"]),
    Row::same("middle.block2.*.gamma", &["mid_block.resnets.1.*.weight"]),
    Row::same("middle.block2.*.beta", &["mid_block.resnets.1.*.bias"]),
    Row::linear("middle.block2.embedding.weight", &["mid_block.resnets.1.time_emb_proj.weight"]),
    Row::same("middle.block2.embedding.bias", &["mid_block.resnets.1.time_emb_proj.bias"]),
    Row::same("middle.block2.*.*", &["mid_block.resnets.1.*.*"]),
    // residual blocks on the way up
    Row::same("up.*.blocks.*.*.gamma", &["up_blocks.*.resnets.*.*.weight"]),
    Row::same("up.*.blocks.*.*.beta", &["up_blocks.*.resnets.*.*.bias"]),
    Row::linear("up.*.blocks.*.embedding.weight", &["up_blocks.*.resnets.*.time_emb_proj.weight"]),
    Row::same("up.*.blocks.*.embedding.bias", &["up_blocks.*.resnets.*.time_emb_proj.bias"]),
    Row::same("up.*.blocks.*.shortcut.*", &["up_blocks.*.resnets.*.conv_shortcut.*"]),
    Row::same("up.*.blocks.*.*.*", &["up_blocks.*.resnets.*.*.*"]),
    // their attention
    Row::same("up.*.attention.*.norm.gamma", &["up_blocks.*.attentions.*.group_norm.weight"]),
    Row::same("up.*.attention.*.norm.beta", &["up_blocks.*.attentions.*.group_norm.bias"]),
    Row::linear(
        "up.*.attention.*.qkv.weight",
        &[
            "up_blocks.*.attentions.*.to_q.weight",
            "up_blocks.*.attentions.*.to_k.weight",
            "up_blocks.*.attentions.*.to_v.weight",
        ],
    ),
    Row::same(
        "up.*.attention.*.qkv.bias",
        &[
            "up_blocks.*.attentions.*.to_q.bias",
            "up_blocks.*.attentions.*.to_k.bias",
            "up_blocks.*.attentions.*.to_v.bias",
        ],
    ),
    Row::linear("up.*.attention.*.out.weight", &["up_blocks.*.attentions.*.to_out.0.weight"]),
    Row::same("up.*.attention.*.out.bias", &["up_blocks.*.attentions.*.to_out.0.bias"]),
    // the step to the next level
    Row::same("up.*.resample.Conv.*", &["up_blocks.*.upsamplers.0.conv.*"]),
    Row::same("up.*.resample.Block.*.gamma", &["up_blocks.*.upsamplers.0.*.weight"]),
    Row::same("up.*.resample.Block.*.beta", &["up_blocks.*.upsamplers.0.*.bias"]),
    Row::linear("up.*.resample.Block.embedding.weight", &["up_blocks.*.upsamplers.0.time_emb_proj.weight"]),
    Row::same("up.*.resample.Block.embedding.bias", &["up_blocks.*.upsamplers.0.time_emb_proj.bias"]),
    Row::same("up.*.resample.Block.*.*", &["up_blocks.*.upsamplers.0.*.*"]),
];
