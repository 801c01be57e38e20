//! How others name the parameters of an MM-DiT.

use crate::MmDiT;
use crate::checkpoint::{Layout, Row};

impl MmDiT {
    /// The names of diffusers' `SD3Transformer2DModel`.
    pub const LAYOUT: Layout = Layout { name: "SD3Transformer2DModel of diffusers", rows: DIFFUSERS, constants: &[] };

    /// The names in the single-file checkpoints of Stable Diffusion 3 and 3.5. Such a file has other parts too: keep what
    /// begins with `model.diffusion_model.`.
    pub const ORIGINAL_LAYOUT: Layout = Layout { name: "MMDiT of Stability AI", rows: ORIGINAL, constants: &[] };
}

const DIFFUSERS: &[Row] = &[
    //          ours                 diffusers
    Row::same("positions", &["pos_embed.pos_embed"]),
    Row::same("patches.*", &["pos_embed.proj.*"]),
    Row::linear("time.*.weight", &["time_text_embed.timestep_embedder.*.weight"]),
    Row::same("time.*.bias", &["time_text_embed.timestep_embedder.*.bias"]),
    Row::linear("pooled.*.weight", &["time_text_embed.text_embedder.*.weight"]),
    Row::same("pooled.*.bias", &["time_text_embed.text_embedder.*.bias"]),
    Row::linear("text.weight", &["context_embedder.weight"]),
    Row::same("text.bias", &["context_embedder.bias"]),
    // the image in a block
    Row::linear("blocks.*.image.modulation.weight", &["transformer_blocks.*.norm1.linear.weight"]),
    Row::same("blocks.*.image.modulation.bias", &["transformer_blocks.*.norm1.linear.bias"]),
    Row::linear(
        "blocks.*.image.attention.qkv.weight",
        &[
            "transformer_blocks.*.attn.to_q.weight",
            "transformer_blocks.*.attn.to_k.weight",
            "transformer_blocks.*.attn.to_v.weight",
        ],
    ),
    Row::same(
        "blocks.*.image.attention.qkv.bias",
        &[
            "transformer_blocks.*.attn.to_q.bias",
            "transformer_blocks.*.attn.to_k.bias",
            "transformer_blocks.*.attn.to_v.bias",
        ],
    ),
    Row::same("blocks.*.image.attention.norm.q.gamma", &["transformer_blocks.*.attn.norm_q.weight"]),
    Row::same("blocks.*.image.attention.norm.k.gamma", &["transformer_blocks.*.attn.norm_k.weight"]),
    Row::linear("blocks.*.image.attention.out.weight", &["transformer_blocks.*.attn.to_out.0.weight"]),
    Row::same("blocks.*.image.attention.out.bias", &["transformer_blocks.*.attn.to_out.0.bias"]),
    Row::linear("blocks.*.image.feed_forward.up.weight", &["transformer_blocks.*.ff.net.0.proj.weight"]),
    Row::same("blocks.*.image.feed_forward.up.bias", &["transformer_blocks.*.ff.net.0.proj.bias"]),
    Row::linear("blocks.*.image.feed_forward.down.weight", &["transformer_blocks.*.ff.net.2.weight"]),
    Row::same("blocks.*.image.feed_forward.down.bias", &["transformer_blocks.*.ff.net.2.bias"]),
    // its second attention
    Row::linear(
        "blocks.*.image.second.qkv.weight",
        &[
            "transformer_blocks.*.attn2.to_q.weight",
            "transformer_blocks.*.attn2.to_k.weight",
            "transformer_blocks.*.attn2.to_v.weight",
        ],
    ),
    Row::same(
        "blocks.*.image.second.qkv.bias",
        &[
            "transformer_blocks.*.attn2.to_q.bias",
            "transformer_blocks.*.attn2.to_k.bias",
            "transformer_blocks.*.attn2.to_v.bias",
        ],
    ),
    Row::same("blocks.*.image.second.norm.q.gamma", &["transformer_blocks.*.attn2.norm_q.weight"]),
    Row::same("blocks.*.image.second.norm.k.gamma", &["transformer_blocks.*.attn2.norm_k.weight"]),
    Row::linear("blocks.*.image.second.out.weight", &["transformer_blocks.*.attn2.to_out.0.weight"]),
    Row::same("blocks.*.image.second.out.bias", &["transformer_blocks.*.attn2.to_out.0.bias"]),
    // the text in a block
    Row::linear("blocks.*.text.Full.modulation.weight", &["transformer_blocks.*.norm1_context.linear.weight"]),
    Row::same("blocks.*.text.Full.modulation.bias", &["transformer_blocks.*.norm1_context.linear.bias"]),
    Row::linear(
        "blocks.*.text.Full.attention.qkv.weight",
        &[
            "transformer_blocks.*.attn.add_q_proj.weight",
            "transformer_blocks.*.attn.add_k_proj.weight",
            "transformer_blocks.*.attn.add_v_proj.weight",
        ],
    ),
    Row::same(
        "blocks.*.text.Full.attention.qkv.bias",
        &[
            "transformer_blocks.*.attn.add_q_proj.bias",
            "transformer_blocks.*.attn.add_k_proj.bias",
            "transformer_blocks.*.attn.add_v_proj.bias",
        ],
    ),
    Row::same("blocks.*.text.Full.attention.norm.q.gamma", &["transformer_blocks.*.attn.norm_added_q.weight"]),
    Row::same("blocks.*.text.Full.attention.norm.k.gamma", &["transformer_blocks.*.attn.norm_added_k.weight"]),
    Row::linear("blocks.*.text.Full.attention.out.weight", &["transformer_blocks.*.attn.to_add_out.weight"]),
    Row::same("blocks.*.text.Full.attention.out.bias", &["transformer_blocks.*.attn.to_add_out.bias"]),
    Row::linear("blocks.*.text.Full.feed_forward.up.weight", &["transformer_blocks.*.ff_context.net.0.proj.weight"]),
    Row::same("blocks.*.text.Full.feed_forward.up.bias", &["transformer_blocks.*.ff_context.net.0.proj.bias"]),
    Row::linear("blocks.*.text.Full.feed_forward.down.weight", &["transformer_blocks.*.ff_context.net.2.weight"]),
    Row::same("blocks.*.text.Full.feed_forward.down.bias", &["transformer_blocks.*.ff_context.net.2.bias"]),
    // the text in the last block, where diffusers has the scale before the shift
    Row::swapped("blocks.*.text.Last.modulation.*", &["transformer_blocks.*.norm1_context.linear.*"]),
    Row::linear(
        "blocks.*.text.Last.qkv.weight",
        &[
            "transformer_blocks.*.attn.add_q_proj.weight",
            "transformer_blocks.*.attn.add_k_proj.weight",
            "transformer_blocks.*.attn.add_v_proj.weight",
        ],
    ),
    Row::same(
        "blocks.*.text.Last.qkv.bias",
        &[
            "transformer_blocks.*.attn.add_q_proj.bias",
            "transformer_blocks.*.attn.add_k_proj.bias",
            "transformer_blocks.*.attn.add_v_proj.bias",
        ],
    ),
    Row::same("blocks.*.text.Last.norm.q.gamma", &["transformer_blocks.*.attn.norm_added_q.weight"]),
    Row::same("blocks.*.text.Last.norm.k.gamma", &["transformer_blocks.*.attn.norm_added_k.weight"]),
    // the output, where it is the same
    Row::swapped("modulation.*", &["norm_out.linear.*"]),
    Row::linear("out.weight", &["proj_out.weight"]),
    Row::same("out.bias", &["proj_out.bias"]),
];

const ORIGINAL: &[Row] = &[
    //          ours                 Stability AI, the same order of shift and scale everywhere
    Row::same("positions", &["model.diffusion_model.pos_embed"]),
    Row::same("patches.*", &["model.diffusion_model.x_embedder.proj.*"]),
    Row::linear("time.linear_1.weight", &["model.diffusion_model.t_embedder.mlp.0.weight"]),
    Row::same("time.linear_1.bias", &["model.diffusion_model.t_embedder.mlp.0.bias"]),
    Row::linear("time.linear_2.weight", &["model.diffusion_model.t_embedder.mlp.2.weight"]),
    Row::same("time.linear_2.bias", &["model.diffusion_model.t_embedder.mlp.2.bias"]),
    Row::linear("pooled.linear_1.weight", &["model.diffusion_model.y_embedder.mlp.0.weight"]),
    Row::same("pooled.linear_1.bias", &["model.diffusion_model.y_embedder.mlp.0.bias"]),
    Row::linear("pooled.linear_2.weight", &["model.diffusion_model.y_embedder.mlp.2.weight"]),
    Row::same("pooled.linear_2.bias", &["model.diffusion_model.y_embedder.mlp.2.bias"]),
    Row::linear("text.weight", &["model.diffusion_model.context_embedder.weight"]),
    Row::same("text.bias", &["model.diffusion_model.context_embedder.bias"]),
    // the image in a block
    Row::linear(
        "blocks.*.image.modulation.weight",
        &["model.diffusion_model.joint_blocks.*.x_block.adaLN_modulation.1.weight"],
    ),
    Row::same(
        "blocks.*.image.modulation.bias",
        &["model.diffusion_model.joint_blocks.*.x_block.adaLN_modulation.1.bias"],
    ),
    Row::linear(
        "blocks.*.image.attention.qkv.weight",
        &["model.diffusion_model.joint_blocks.*.x_block.attn.qkv.weight"],
    ),
    Row::same("blocks.*.image.attention.qkv.bias", &["model.diffusion_model.joint_blocks.*.x_block.attn.qkv.bias"]),
    Row::same(
        "blocks.*.image.attention.norm.q.gamma",
        &["model.diffusion_model.joint_blocks.*.x_block.attn.ln_q.weight"],
    ),
    Row::same(
        "blocks.*.image.attention.norm.k.gamma",
        &["model.diffusion_model.joint_blocks.*.x_block.attn.ln_k.weight"],
    ),
    Row::linear(
        "blocks.*.image.attention.out.weight",
        &["model.diffusion_model.joint_blocks.*.x_block.attn.proj.weight"],
    ),
    Row::same("blocks.*.image.attention.out.bias", &["model.diffusion_model.joint_blocks.*.x_block.attn.proj.bias"]),
    Row::linear(
        "blocks.*.image.feed_forward.up.weight",
        &["model.diffusion_model.joint_blocks.*.x_block.mlp.fc1.weight"],
    ),
    Row::same("blocks.*.image.feed_forward.up.bias", &["model.diffusion_model.joint_blocks.*.x_block.mlp.fc1.bias"]),
    Row::linear(
        "blocks.*.image.feed_forward.down.weight",
        &["model.diffusion_model.joint_blocks.*.x_block.mlp.fc2.weight"],
    ),
    Row::same("blocks.*.image.feed_forward.down.bias", &["model.diffusion_model.joint_blocks.*.x_block.mlp.fc2.bias"]),
    // its second attention
    Row::linear("blocks.*.image.second.qkv.weight", &["model.diffusion_model.joint_blocks.*.x_block.attn2.qkv.weight"]),
    Row::same("blocks.*.image.second.qkv.bias", &["model.diffusion_model.joint_blocks.*.x_block.attn2.qkv.bias"]),
    Row::same(
        "blocks.*.image.second.norm.q.gamma",
        &["model.diffusion_model.joint_blocks.*.x_block.attn2.ln_q.weight"],
    ),
    Row::same(
        "blocks.*.image.second.norm.k.gamma",
        &["model.diffusion_model.joint_blocks.*.x_block.attn2.ln_k.weight"],
    ),
    Row::linear(
        "blocks.*.image.second.out.weight",
        &["model.diffusion_model.joint_blocks.*.x_block.attn2.proj.weight"],
    ),
    Row::same("blocks.*.image.second.out.bias", &["model.diffusion_model.joint_blocks.*.x_block.attn2.proj.bias"]),
    // the text in a block
    Row::linear(
        "blocks.*.text.Full.modulation.weight",
        &["model.diffusion_model.joint_blocks.*.context_block.adaLN_modulation.1.weight"],
    ),
    Row::same(
        "blocks.*.text.Full.modulation.bias",
        &["model.diffusion_model.joint_blocks.*.context_block.adaLN_modulation.1.bias"],
    ),
    Row::linear(
        "blocks.*.text.Full.attention.qkv.weight",
        &["model.diffusion_model.joint_blocks.*.context_block.attn.qkv.weight"],
    ),
    Row::same(
        "blocks.*.text.Full.attention.qkv.bias",
        &["model.diffusion_model.joint_blocks.*.context_block.attn.qkv.bias"],
    ),
    Row::same(
        "blocks.*.text.Full.attention.norm.q.gamma",
        &["model.diffusion_model.joint_blocks.*.context_block.attn.ln_q.weight"],
    ),
    Row::same(
        "blocks.*.text.Full.attention.norm.k.gamma",
        &["model.diffusion_model.joint_blocks.*.context_block.attn.ln_k.weight"],
    ),
    Row::linear(
        "blocks.*.text.Full.attention.out.weight",
        &["model.diffusion_model.joint_blocks.*.context_block.attn.proj.weight"],
    ),
    Row::same(
        "blocks.*.text.Full.attention.out.bias",
        &["model.diffusion_model.joint_blocks.*.context_block.attn.proj.bias"],
    ),
    Row::linear(
        "blocks.*.text.Full.feed_forward.up.weight",
        &["model.diffusion_model.joint_blocks.*.context_block.mlp.fc1.weight"],
    ),
    Row::same(
        "blocks.*.text.Full.feed_forward.up.bias",
        &["model.diffusion_model.joint_blocks.*.context_block.mlp.fc1.bias"],
    ),
    Row::linear(
        "blocks.*.text.Full.feed_forward.down.weight",
        &["model.diffusion_model.joint_blocks.*.context_block.mlp.fc2.weight"],
    ),
    Row::same(
        "blocks.*.text.Full.feed_forward.down.bias",
        &["model.diffusion_model.joint_blocks.*.context_block.mlp.fc2.bias"],
    ),
    // the text in the last block
    Row::linear(
        "blocks.*.text.Last.modulation.weight",
        &["model.diffusion_model.joint_blocks.*.context_block.adaLN_modulation.1.weight"],
    ),
    Row::same(
        "blocks.*.text.Last.modulation.bias",
        &["model.diffusion_model.joint_blocks.*.context_block.adaLN_modulation.1.bias"],
    ),
    Row::linear(
        "blocks.*.text.Last.qkv.weight",
        &["model.diffusion_model.joint_blocks.*.context_block.attn.qkv.weight"],
    ),
    Row::same("blocks.*.text.Last.qkv.bias", &["model.diffusion_model.joint_blocks.*.context_block.attn.qkv.bias"]),
    Row::same(
        "blocks.*.text.Last.norm.q.gamma",
        &["model.diffusion_model.joint_blocks.*.context_block.attn.ln_q.weight"],
    ),
    Row::same(
        "blocks.*.text.Last.norm.k.gamma",
        &["model.diffusion_model.joint_blocks.*.context_block.attn.ln_k.weight"],
    ),
    // the output
    Row::linear("modulation.weight", &["model.diffusion_model.final_layer.adaLN_modulation.1.weight"]),
    Row::same("modulation.bias", &["model.diffusion_model.final_layer.adaLN_modulation.1.bias"]),
    Row::linear("out.weight", &["model.diffusion_model.final_layer.linear.weight"]),
    Row::same("out.bias", &["model.diffusion_model.final_layer.linear.bias"]),
];
