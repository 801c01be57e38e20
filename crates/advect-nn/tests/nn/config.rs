//! Configurations: errors that say what to do, and TOML.

use std::path::Path;

use advect_nn::checkpoint::Backbone;
use advect_nn::{
    AutoencoderKlConfig, Conditioning, DiTConditioning, DiTConfig, MlpConfig, MmDiTConfig, NnError, NumberEmbedding,
    PatchDiscriminatorConfig, Resampling, UNetConfig,
};
use burn::tensor::Device;

fn error(config: &UNetConfig) -> NnError {
    let error = config.validate().unwrap_err();
    assert_eq!(config.init(&Device::flex()).err(), Some(error.clone()));
    error
}

#[test]
fn a_configuration_that_describes_no_network_is_an_error_with_operands() {
    let digits = UNetConfig::digits;
    assert!(digits().validate().is_ok());
    assert_eq!(error(&digits().with_blocks(0)), NnError::Zero { field: "blocks" });
    assert_eq!(error(&digits().with_groups(0)), NnError::Zero { field: "groups" });
    assert_eq!(error(&digits().with_head_channels(0)), NnError::Zero { field: "head_channels" });
    assert_eq!(error(&digits().with_classes(Some(0))), NnError::Zero { field: "classes" });
    assert_eq!(
        error(&UNetConfig { multipliers: vec![], attention: vec![], ..digits() }),
        NnError::Empty { field: "multipliers" }
    );
    assert_eq!(error(&UNetConfig { multipliers: vec![1, 0], ..digits() }), NnError::Zero { field: "multipliers" });
    assert_eq!(
        error(&UNetConfig { multipliers: vec![1; 64], ..digits() }),
        NnError::TooManyLevels { levels: 64, max: 16 }
    );
    assert_eq!(
        error(&UNetConfig { channels: 33, ..digits() }),
        NnError::OddFeatures { field: "channels", features: 33 }
    );
    assert_eq!(error(&digits().with_attention(vec![2, 3])), NnError::NoSuchLevel { factor: 3, factors: vec![1, 2] });
    let expected = NnError::Indivisible { field: "groups", divisor: 12, channels: 32, place: "a level" };
    assert_eq!(error(&digits().with_groups(12)), expected);
    let expected = NnError::Indivisible { field: "head_channels", divisor: 24, channels: 64, place: "the middle" };
    assert_eq!(error(&digits().with_attention(vec![]).with_head_channels(24)), expected);
    assert!(matches!(
        error(&digits().with_time_scale(f64::INFINITY)),
        NnError::NotPositive { field: "time_scale", .. }
    ));
    assert_eq!(
        error(&digits().with_groups(12)).to_string(),
        "`groups` = 12 does not divide the 32 channels of a level: choose a common divisor"
    );

    let mlp = || MlpConfig::new(2, 8, 2);
    assert_eq!(
        mlp().with_time_features(3).validate(),
        Err(NnError::OddFeatures { field: "time_features", features: 3 })
    );
    assert_eq!(mlp().with_time_features(0).validate(), Err(NnError::Zero { field: "time_features" }));
    assert_eq!(MlpConfig::new(2, 8, 0).init(&Device::flex()).err(), Some(NnError::Zero { field: "layers" }));
    assert!(matches!(mlp().with_time_scale(0.0).validate(), Err(NnError::NotPositive { .. })));
}

#[test]
fn toml_says_what_is_needed_and_no_more() {
    let config = UNetConfig::digits().with_conditioning(Conditioning::Add).with_resample(Resampling::ResidualBlock);
    let text = toml::to_string(&config).unwrap();
    assert!(text.contains("resample = \"residual_block\""), "{text}");
    assert_eq!(toml::from_str::<UNetConfig>(&text).unwrap(), config);

    let text = "in_channels = 3\nout_channels = 3\nchannels = 64\nmultipliers = [1, 2]";
    assert_eq!(toml::from_str::<UNetConfig>(text).unwrap(), UNetConfig::new(3, 64, vec![1, 2]));
    assert!(toml::from_str::<UNetConfig>(&format!("{text}\nhedas = 3")).is_err());

    let config = MlpConfig::new(2, 8, 2);
    assert_eq!(toml::from_str::<MlpConfig>("input = 2\nhidden = 8\nlayers = 2").unwrap(), config);
    assert_eq!(toml::from_str::<MlpConfig>(&toml::to_string(&config).unwrap()).unwrap(), config);
}

#[test]
fn no_size_is_so_large_that_a_count_overflows() {
    let device = Device::flex();
    for huge in [(1 << 20) + 4, 1 << 32, 1 << 62, usize::MAX - 3] {
        let dit = || DiTConfig::new(1, [4, 4], 2, 16, 1, 2);
        let context = DiTConditioning::CrossAttention { context: huge };
        let autoencoder = AutoencoderKlConfig::mnist;
        let unet = UNetConfig::digits;
        let discriminator = PatchDiscriminatorConfig::mnist;
        let found = [
            DiTConfig { in_channels: huge, ..dit() }.init(&device).err(),
            dit().with_out_channels(huge).init(&device).err(),
            dit().with_size([huge, 4]).init(&device).err(),
            DiTConfig { patch: huge, size: [huge, huge], ..dit() }.init(&device).err(),
            DiTConfig { width: huge, ..dit() }.init(&device).err(),
            DiTConfig { depth: huge, ..dit() }.init(&device).err(),
            DiTConfig { heads: huge, ..dit() }.init(&device).err(),
            dit().with_mlp_ratio(huge).init(&device).err(),
            dit().with_classes(Some(huge)).init(&device).err(),
            dit().with_conditioning(context).init(&device).err(),
            dit().with_time_features(huge).init(&device).err(),
            MmDiTConfig::new(huge, 1, 1).init(&device).err(),
            MmDiTConfig::new(4, huge, 1).init(&device).err(),
            MmDiTConfig::new(4, 1, huge).init(&device).err(),
            MmDiTConfig::new(4, 1, 1).with_out_channels(huge).init(&device).err(),
            MmDiTConfig::new(4, 1, 1).with_head_channels(huge).init(&device).err(),
            MmDiTConfig::new(4, 1, 2).with_head_channels(1 << 20).init(&device).err(),
            MmDiTConfig::new(4, 1, 1).with_text_features(huge).init(&device).err(),
            MmDiTConfig::new(4, 1, 1).with_pooled_features(huge).init(&device).err(),
            MmDiTConfig::new(4, 1, 1).with_patch(huge).init(&device).err(),
            MmDiTConfig::new(4, 1, 1).with_positions(huge).init(&device).err(),
            MmDiTConfig::new(4, 1, 1).with_position_span(huge).init(&device).err(),
            AutoencoderKlConfig { in_channels: huge, ..autoencoder() }.init(&device).err(),
            AutoencoderKlConfig { latent_channels: huge, ..autoencoder() }.init(&device).err(),
            AutoencoderKlConfig { channels: huge, ..autoencoder() }.init(&device).err(),
            AutoencoderKlConfig { multipliers: vec![1, huge], ..autoencoder() }.init(&device).err(),
            AutoencoderKlConfig { multipliers: vec![1 << 20], ..autoencoder() }.init(&device).err(),
            autoencoder().with_blocks(huge).init(&device).err(),
            autoencoder().with_groups(huge).init(&device).err(),
            UNetConfig { in_channels: huge, ..unet() }.init(&device).err(),
            UNetConfig { channels: huge, ..unet() }.init(&device).err(),
            UNetConfig { multipliers: vec![1, huge], ..unet() }.init(&device).err(),
            UNetConfig { multipliers: vec![1 << 20, 1], ..unet() }.init(&device).err(),
            unet().with_out_channels(huge).init(&device).err(),
            unet().with_blocks(huge).init(&device).err(),
            unet().with_blocks(20_000).init(&device).err(),
            unet().with_head_channels(huge).init(&device).err(),
            unet().with_groups(huge).init(&device).err(),
            unet().with_classes(Some(huge)).init(&device).err(),
            PatchDiscriminatorConfig { in_channels: huge, ..discriminator() }.init(&device).err(),
            PatchDiscriminatorConfig { channels: huge, ..discriminator() }.init(&device).err(),
            PatchDiscriminatorConfig { groups: huge, ..discriminator() }.init(&device).err(),
            MlpConfig::new(huge, 8, 1).init(&device).err(),
            MlpConfig::new(2, huge, 1).init(&device).err(),
            MlpConfig::new(2, 8, huge).init(&device).err(),
            NumberEmbedding::new(huge, 8, 8, 1.0, &device).err(),
            NumberEmbedding::new(1, huge, 8, 1.0, &device).err(),
            NumberEmbedding::new(1, 8, huge, 1.0, &device).err(),
        ];
        for (index, error) in found.into_iter().enumerate() {
            assert!(matches!(error, Some(NnError::TooLarge { .. })), "{huge}, case {index}: {error:?}");
        }
        // Too many levels is an error of its own.
        let layers = PatchDiscriminatorConfig { layers: huge, ..discriminator() };
        assert!(matches!(layers.validate(), Err(NnError::TooLarge { .. } | NnError::TooManyLevels { .. })));
    }
    assert_eq!(
        UNetConfig::digits().with_blocks(20_000).validate().unwrap_err().to_string(),
        "`blocks` = 20000 is more than any network has: use at most 1000"
    );

    // The largest that are accepted: their parameters can be counted.
    let most = 1 << 20;
    let dit = DiTConfig::new(most, [most - most % 1000, 1000], 1000, most, 1000, 1).with_mlp_ratio(1000);
    let dit = dit.with_classes(Some(most)).with_out_channels(most).with_time_features(most);
    let dit = dit.with_positions(advect_nn::Positions::Learned).with_activation(advect_nn::Activation::SwiGlu);
    let dit = dit.with_conditioning(DiTConditioning::CrossAttention { context: most });
    assert_eq!(dit.validate(), Ok(()));
    assert!(dit.num_params() > 1 << 60);
    let mm_dit = MmDiTConfig::new(most, 1000, 1).with_head_channels(most).with_patch(1000).with_text_features(most);
    assert_eq!(mm_dit.validate(), Ok(()));
    assert!(mm_dit.num_params() > 1 << 54);
    let unet = UNetConfig::new(most, most, vec![1; 16]).with_blocks(1000).with_classes(Some(most));
    assert_eq!(unet.validate(), Ok(()));
    assert!(unet.num_params() > 1 << 58);
    let autoencoder = AutoencoderKlConfig::new(most, most, vec![1; 16], most).with_blocks(1000);
    assert_eq!(autoencoder.validate(), Ok(()));
    assert!(autoencoder.num_params() > 1 << 58);
    let discriminator = PatchDiscriminatorConfig { in_channels: most, channels: most, layers: 16, groups: 1 };
    assert_eq!(discriminator.validate(), Ok(()));
    assert!(discriminator.num_params() > 1 << 50);
}

#[test]
fn a_configuration_of_diffusers_with_huge_sizes_is_an_error() {
    for text in [
        r#"{"_class_name": "DiTTransformer2DModel", "num_attention_heads": 1, "attention_head_dim": 4611686018427387904}"#,
        r#"{"_class_name": "DiTTransformer2DModel", "num_layers": 1000000000000}"#,
        r#"{"_class_name": "SD3Transformer2DModel", "num_layers": 1000000000000}"#,
        r#"{"_class_name": "SD3Transformer2DModel", "num_attention_heads": 1, "attention_head_dim": 4611686018427387904,
            "caption_projection_dim": 4611686018427387904}"#,
        r#"{"_class_name": "AutoencoderKL", "layers_per_block": 18446744073709551615}"#,
        r#"{"_class_name": "AutoencoderKL", "latent_channels": 4611686018427387904}"#,
        r#"{"_class_name": "UNet2DModel", "layers_per_block": 20000}"#,
        r#"{"_class_name": "UNet2DModel", "block_out_channels": [4611686018427387904], "down_block_types": ["DownBlock2D"],
            "up_block_types": ["UpBlock2D"]}"#,
    ] {
        let error = Backbone::from_json(text, Path::new("config.json")).unwrap_err();
        // Refused by the network's own bounds, or already where the widths are read.
        let said = error.to_string();
        assert!(said.contains("more than any network has") || said.contains("16777216 at most"), "{text}: {said}");
    }
}
