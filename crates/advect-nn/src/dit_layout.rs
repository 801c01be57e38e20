//! How others name the parameters of a DiT.

use burn::tensor::TensorData;

use crate::checkpoint::{
    CheckpointError, Constant, Layout, Loading, Manifest, Row, Source, Tensors, check, compare, export, load_with,
};
use crate::{DiT, Positions};

/// The original's name of its fixed positions, or learned ones.
const POSITIONS: &str = "pos_embed";

impl DiT {
    /// The names of the original DiT, which SiT shares; of PixArt-alpha for the cross-attention, of timm for norms of
    /// queries and keys.
    ///
    /// A checkpoint's fixed positions (`pos_embed`) depend on the image's size and on how this network knows places, and
    /// a table knows neither. With this one alone they are known by name only, and loading them is an error:
    /// [`load_original`](Self::load_original) compares them, [`export_original`](Self::export_original) writes them.
    pub const LAYOUT: Layout = Layout {
        name: "the original DiT and SiT",
        rows: ORIGINAL,
        constants: &[Constant { theirs: POSITIONS, value: |_| None }],
    };

    /// The names of diffusers' `DiTTransformer2DModel`, where each block has its own copy of the embeddings of time and
    /// class.
    ///
    /// The numbers agree with the original DiT's, from which these checkpoints were converted. Diffusers itself differs
    /// a little: its time features are spaced by 1/127 instead of 1/128, and the norm before a feed-forward layer has
    /// the epsilon 1e-5 unless `norm_eps` says 1e-6.
    pub const LAYOUT_DIFFUSERS: Layout =
        Layout { name: "DiTTransformer2DModel of diffusers", rows: DIFFUSERS, constants: &[] };

    /// The network with the weights of a checkpoint under the original's names. Fixed positions may be absent; those of
    /// another network (another size, other values, or any where this network has rotary ones) are an error.
    ///
    /// # Errors
    /// [`CheckpointError::Constant`] for other positions; else as for [`load_with`].
    pub fn load_original<S: Source + ?Sized>(self, source: &S, loading: Loading) -> Result<Self, CheckpointError> {
        let manifest = source.manifest();
        check(&self, &Self::LAYOUT, &manifest)?;
        match (manifest.get(POSITIONS), self.fixed_positions()) {
            (Some(entry), Some(positions)) => compare(POSITIONS, &entry.shape, positions, source)?,
            (Some(_), None) if self.positions == Positions::Rotary => {
                let reason = "it turns queries and keys instead: choose `positions` = \"sin_cos\" in its configuration";
                return Err(CheckpointError::Constant { name: POSITIONS.to_owned(), reason: reason.to_owned() });
            }
            // Absent, or learned like any weight.
            _ => return load_with(self, &Self::LAYOUT, source, loading),
        }
        load_with(self, &Self::LAYOUT, &WithoutPositions(source), loading)
    }

    /// The weights under the original's names with the fixed positions, as the original stores them: what
    /// [`load_original`](Self::load_original) loads, byte for byte.
    ///
    /// # Errors
    /// As for [`export`].
    pub fn export_original(&self) -> Result<Tensors, CheckpointError> {
        let mut tensors = export(self, &Self::LAYOUT)?;
        tensors.extend(self.fixed_positions().map(|positions| (POSITIONS.to_owned(), positions)));
        Ok(tensors)
    }
}

/// A checkpoint whose positions have been compared.
struct WithoutPositions<'a, S: ?Sized>(&'a S);

impl<S: Source + ?Sized> Source for WithoutPositions<'_, S> {
    fn manifest(&self) -> Manifest {
        let mut manifest = self.0.manifest();
        manifest.remove(POSITIONS);
        manifest
    }

    fn tensor(&self, name: &str) -> Result<TensorData, CheckpointError> {
        self.0.tensor(name)
    }
}

const ORIGINAL: &[Row] = &[
    //          ours                                       DiT
    Row::same("patches.*", &["x_embedder.proj.*"]),
    Row::same("position", &[POSITIONS]),
    Row::linear("time.linear_1.weight", &["t_embedder.mlp.0.weight"]),
    Row::same("time.linear_1.bias", &["t_embedder.mlp.0.bias"]),
    Row::linear("time.linear_2.weight", &["t_embedder.mlp.2.weight"]),
    Row::same("time.linear_2.bias", &["t_embedder.mlp.2.bias"]),
    Row::same("class.table.weight", &["y_embedder.embedding_table.weight"]),
    Row::linear("blocks.*.modulation.weight", &["blocks.*.adaLN_modulation.1.weight"]),
    Row::same("blocks.*.modulation.bias", &["blocks.*.adaLN_modulation.1.bias"]),
    Row::same("blocks.*.norm_1.gamma", &["blocks.*.norm1.weight"]),
    Row::same("blocks.*.norm_1.beta", &["blocks.*.norm1.bias"]),
    Row::linear("blocks.*.attention.qkv.weight", &["blocks.*.attn.qkv.weight"]),
    Row::same("blocks.*.attention.qkv.bias", &["blocks.*.attn.qkv.bias"]),
    Row::same("blocks.*.attention.norm.q.gamma", &["blocks.*.attn.q_norm.weight"]),
    Row::same("blocks.*.attention.norm.q.beta", &["blocks.*.attn.q_norm.bias"]),
    Row::same("blocks.*.attention.norm.k.gamma", &["blocks.*.attn.k_norm.weight"]),
    Row::same("blocks.*.attention.norm.k.beta", &["blocks.*.attn.k_norm.bias"]),
    Row::linear("blocks.*.attention.out.weight", &["blocks.*.attn.proj.weight"]),
    Row::same("blocks.*.attention.out.bias", &["blocks.*.attn.proj.bias"]),
    Row::linear("blocks.*.cross.q.weight", &["blocks.*.cross_attn.q_linear.weight"]),
    Row::same("blocks.*.cross.q.bias", &["blocks.*.cross_attn.q_linear.bias"]),
    Row::linear("blocks.*.cross.kv.weight", &["blocks.*.cross_attn.kv_linear.weight"]),
    Row::same("blocks.*.cross.kv.bias", &["blocks.*.cross_attn.kv_linear.bias"]),
    Row::same("blocks.*.cross.norm.q.gamma", &["blocks.*.cross_attn.q_norm.weight"]),
    Row::same("blocks.*.cross.norm.q.beta", &["blocks.*.cross_attn.q_norm.bias"]),
    Row::same("blocks.*.cross.norm.k.gamma", &["blocks.*.cross_attn.k_norm.weight"]),
    Row::same("blocks.*.cross.norm.k.beta", &["blocks.*.cross_attn.k_norm.bias"]),
    Row::linear("blocks.*.cross.out.weight", &["blocks.*.cross_attn.proj.weight"]),
    Row::same("blocks.*.cross.out.bias", &["blocks.*.cross_attn.proj.bias"]),
    Row::same("blocks.*.norm_2.gamma", &["blocks.*.norm2.weight"]),
    Row::same("blocks.*.norm_2.beta", &["blocks.*.norm2.bias"]),
    Row::linear("blocks.*.feed_forward.up.weight", &["blocks.*.mlp.fc1.weight"]),
    Row::same("blocks.*.feed_forward.up.bias", &["blocks.*.mlp.fc1.bias"]),
    Row::linear("blocks.*.feed_forward.down.weight", &["blocks.*.mlp.fc2.weight"]),
    Row::same("blocks.*.feed_forward.down.bias", &["blocks.*.mlp.fc2.bias"]),
    Row::linear("modulation.weight", &["final_layer.adaLN_modulation.1.weight"]),
    Row::same("modulation.bias", &["final_layer.adaLN_modulation.1.bias"]),
    Row::same("norm.gamma", &["final_layer.norm_final.weight"]),
    Row::same("norm.beta", &["final_layer.norm_final.bias"]),
    Row::linear("out.weight", &["final_layer.linear.weight"]),
    Row::same("out.bias", &["final_layer.linear.bias"]),
];

const DIFFUSERS: &[Row] = &[
    //          ours                                       diffusers
    Row::same("patches.*", &["pos_embed.proj.*"]),
    // Each block has a copy.
    Row::linear("time.linear_1.weight", &["transformer_blocks.*.norm1.emb.timestep_embedder.linear_1.weight"]),
    Row::same("time.linear_1.bias", &["transformer_blocks.*.norm1.emb.timestep_embedder.linear_1.bias"]),
    Row::linear("time.linear_2.weight", &["transformer_blocks.*.norm1.emb.timestep_embedder.linear_2.weight"]),
    Row::same("time.linear_2.bias", &["transformer_blocks.*.norm1.emb.timestep_embedder.linear_2.bias"]),
    Row::same("class.table.weight", &["transformer_blocks.*.norm1.emb.class_embedder.embedding_table.weight"]),
    Row::linear("blocks.*.modulation.weight", &["transformer_blocks.*.norm1.linear.weight"]),
    Row::same("blocks.*.modulation.bias", &["transformer_blocks.*.norm1.linear.bias"]),
    Row::linear(
        "blocks.*.attention.qkv.weight",
        &[
            "transformer_blocks.*.attn1.to_q.weight",
            "transformer_blocks.*.attn1.to_k.weight",
            "transformer_blocks.*.attn1.to_v.weight",
        ],
    ),
    Row::same(
        "blocks.*.attention.qkv.bias",
        &[
            "transformer_blocks.*.attn1.to_q.bias",
            "transformer_blocks.*.attn1.to_k.bias",
            "transformer_blocks.*.attn1.to_v.bias",
        ],
    ),
    Row::linear("blocks.*.attention.out.weight", &["transformer_blocks.*.attn1.to_out.0.weight"]),
    Row::same("blocks.*.attention.out.bias", &["transformer_blocks.*.attn1.to_out.0.bias"]),
    Row::linear("blocks.*.feed_forward.up.weight", &["transformer_blocks.*.ff.net.0.proj.weight"]),
    Row::same("blocks.*.feed_forward.up.bias", &["transformer_blocks.*.ff.net.0.proj.bias"]),
    Row::linear("blocks.*.feed_forward.down.weight", &["transformer_blocks.*.ff.net.2.weight"]),
    Row::same("blocks.*.feed_forward.down.bias", &["transformer_blocks.*.ff.net.2.bias"]),
    Row::linear("modulation.weight", &["proj_out_1.weight"]),
    Row::same("modulation.bias", &["proj_out_1.bias"]),
    Row::linear("out.weight", &["proj_out_2.weight"]),
    Row::same("out.bias", &["proj_out_2.bias"]),
];
