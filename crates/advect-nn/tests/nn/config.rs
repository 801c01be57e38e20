//! Configurations: errors that say what to do, and TOML.

use advect_nn::{Conditioning, MlpConfig, NnError, Resampling, UNetConfig};
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
