use crate::{cloud, key, tensor};
use advect_paths::{
    Ascent, ClassWise, CostMatrix, Coupling, ExactOt, Immiscible, Independent, NearestNoise, PartialOt, PathError,
    Rows, Semidiscrete, Sinkhorn, SquaredEuclidean, Stop, UnbalancedSinkhorn, Uncoupled, assign,
};
use burn::tensor::{Device, Tensor};

/// Every coupling that looks at the values.
fn all() -> Vec<(&'static str, Box<dyn Coupling<2>>)> {
    let stop = Stop::new(1e-6, 1000).unwrap();
    vec![
        ("exact", Box::new(ExactOt::new())),
        ("immiscible", Box::new(Immiscible)),
        ("nearest", Box::new(NearestNoise::new(1).unwrap())),
        ("sinkhorn", Box::new(Sinkhorn::new(SquaredEuclidean, 1.0, stop).unwrap())),
        ("unbalanced", Box::new(UnbalancedSinkhorn::new(SquaredEuclidean, 1.0, 1.0, 1.0, stop).unwrap())),
        ("partial", Box::new(PartialOt::new(SquaredEuclidean, 0.5).unwrap())),
    ]
}

#[test]
fn a_batch_with_a_nan_or_infinity_is_an_error_that_names_the_pair() {
    for bad in [f64::NAN, f64::INFINITY, 1e200] {
        let mut values: Vec<f64> = cloud(1, 4, 2, 0.0).iter().flatten().copied().collect();
        values[5] = bad;
        let (noise, data) = (tensor(&Rows::new(values, 4).unwrap()), tensor(&cloud(2, 4, 2, 0.0)));
        for (name, coupling) in all() {
            let error = coupling.pair(&Uncoupled::new(&noise, &data, key(0), 0)).unwrap_err();
            assert!(matches!(error, PathError::Cost { noise: 2, .. }), "{name}: {error}");
        }
    }
}

#[test]
fn rows_of_different_shape_or_number_are_errors() {
    let (four, five, wide) = (tensor(&cloud(1, 4, 2, 0.0)), tensor(&cloud(2, 5, 2, 0.0)), tensor(&cloud(3, 4, 3, 0.0)));
    for (name, coupling) in all() {
        let error = coupling.pair(&Uncoupled::new(&wide, &four, key(0), 0)).unwrap_err();
        let shape = PathError::Shape { what: "the noise", got: vec![4, 3], expected: vec![4, 2] };
        assert_eq!(error, shape, "{name}");
        let result = coupling.pair(&Uncoupled::new(&four, &five, key(0), 0));
        match name {
            "exact" | "immiscible" | "nearest" => {
                assert_eq!(result, Err(PathError::PairRows { noise: 4, data: 5, pool: 1 }), "{name}");
            }
            // Plans need no equal numbers.
            "partial" => assert_eq!(result.unwrap().data.len(), 2),
            _ => assert_eq!(result.unwrap().data.len(), 5),
        }
    }
    let rows = PathError::PairRows { noise: 4, data: 5, pool: 1 };
    assert_eq!(Independent.pair(&Uncoupled::new(&four, &five, key(0), 0)), Err(rows.clone()));
    let class_wise = ClassWise { inner: Independent };
    assert_eq!(class_wise.pair(&Uncoupled::new(&four, &five, key(0), 0).with_classes(&[0; 5])), Err(rows));
    let error = NearestNoise::new(2).unwrap().pair(&Uncoupled::new(&four, &four, key(0), 0));
    assert_eq!(error, Err(PathError::PairRows { noise: 4, data: 4, pool: 2 }));
}

#[test]
fn nothing_to_couple_is_an_error() {
    let empty: Tensor<2> = Tensor::zeros([0, 2], &Device::flex());
    for (name, coupling) in all() {
        let error = coupling.pair(&Uncoupled::new(&empty, &empty, key(0), 0)).unwrap_err();
        assert!(matches!(error, PathError::NoRows { .. }), "{name}: {error}");
    }
    for (values, rows) in [(vec![], 0), (vec![], 3), (vec![1.0, 2.0, 3.0], 2), (vec![1.0], 0)] {
        let error = PathError::NoRows { values: values.len(), rows };
        assert_eq!(Rows::new(values.clone(), rows), Err(error.clone()));
        assert_eq!(CostMatrix::new(values, rows), Err(error));
    }
    let wide = CostMatrix::new(vec![1.0, 2.0], 1).unwrap();
    assert_eq!(assign(&wide), Err(PathError::PairRows { noise: 1, data: 2, pool: 1 }));
    // One row is a batch.
    let one = tensor(&cloud(4, 1, 2, 0.0));
    for (name, coupling) in all() {
        let pairing = coupling.pair(&Uncoupled::new(&one, &one, key(0), 0)).unwrap();
        assert_eq!((pairing.noise, pairing.data), (vec![0], vec![0]), "{name}");
    }
}

#[test]
fn classes_must_be_there() {
    let rows = tensor(&cloud(1, 4, 2, 0.0));
    let coupling = ClassWise { inner: ExactOt::new() };
    let batch = Uncoupled::new(&rows, &rows, key(0), 0);
    assert_eq!(coupling.pair(&batch), Err(PathError::Classes { classes: 0, rows: 4 }));
    assert_eq!(coupling.pair(&batch.with_classes(&[1, 2, 1])), Err(PathError::Classes { classes: 3, rows: 4 }));
    // One class each: nothing can be permuted.
    assert_eq!(coupling.pair(&batch.with_classes(&[4, 3, 9, 0])).unwrap().noise, [0, 1, 2, 3]);
}

#[test]
fn parameters_out_of_range_are_errors() {
    let stop = Stop::new(1e-6, 10).unwrap();
    let is = |error: Result<(), PathError>, name: &str| match error {
        Err(PathError::CouplingNumber { what, .. }) => assert_eq!(what, name),
        other => panic!("{name}: {other:?}"),
    };
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        is(Sinkhorn::new(SquaredEuclidean, bad, stop).map(drop), "epsilon");
        is(UnbalancedSinkhorn::new(SquaredEuclidean, bad, 1.0, 1.0, stop).map(drop), "epsilon");
        is(Stop::new(bad, 10).map(drop), "the tolerance");
        is(Ascent::new(10, 10, bad).map(drop), "the rate");
    }
    for bad in [0.0, -1.0, f64::NAN] {
        is(UnbalancedSinkhorn::new(SquaredEuclidean, 1.0, bad, 1.0, stop).map(drop), "rho_noise");
        is(UnbalancedSinkhorn::new(SquaredEuclidean, 1.0, 1.0, bad, stop).map(drop), "rho_data");
    }
    for bad in [0.0, -0.1, 1.1, f64::NAN] {
        is(PartialOt::new(SquaredEuclidean, bad).map(drop), "the share");
    }
    is(Stop::new(1e-6, 0).map(drop), "the number of iterations");
    is(NearestNoise::new(0).map(drop), "the number of noise candidates");
    is(Ascent::new(0, 10, 1.0).map(drop), "the number of steps");
    is(Ascent::new(10, 0, 1.0).map(drop), "the batch");
}

#[test]
fn a_semidiscrete_coupling_wants_its_own_data_set() {
    let data = cloud(1, 6, 2, 0.0);
    let fit = Semidiscrete::fit(data.clone(), SquaredEuclidean, &Ascent::new(2, 4, 1.0).unwrap(), key(0)).unwrap();
    let (five, wide) = (tensor(&cloud(2, 5, 2, 0.0)), tensor(&cloud(3, 4, 3, 0.0)));
    let error = fit.pair(&Uncoupled::new(&five, &five, key(0), 0)).unwrap_err();
    assert_eq!(error, PathError::NotTheDataSet { rows: 5, fitted: 6 });
    let error = fit.pair(&Uncoupled::new(&wide, &tensor(&data), key(0), 0)).unwrap_err();
    assert!(matches!(error, PathError::Shape { .. }), "{error}");
    let nan = Rows::new(vec![0.0, f64::NAN], 2).unwrap();
    let error = Semidiscrete::fit(nan, SquaredEuclidean, &Ascent::new(2, 4, 1.0).unwrap(), key(0)).unwrap_err();
    assert!(matches!(error, PathError::Cost { data: 1, .. }), "{error}");
}
