use crate::{key, tensor};
use advect_analytic::mixture::Mixture;
use advect_analytic::statistics::Estimate;
use advect_core::{NoiseKey, Purpose, normal};
use advect_paths::{
    ClassWise, Coupling, ExactOt, Immiscible, Independent, Rows, Sinkhorn, SourceLaw, SquaredEuclidean, Stop, Uncoupled,
};
use rand::RngExt;

const BATCHES: u64 = 40;
const ROWS: usize = 128;

/// One batch of the labelled mixture: two classes at (-4, 0) and (4, 1), of weights 1/3 and 2/3.
fn batch(step: u64) -> (Rows, Rows, Vec<usize>) {
    let mixture = Mixture::isotropic(&[1.0, 2.0], &[vec![-4.0, 0.0], vec![4.0, 1.0]], &[0.5, 0.5]).unwrap();
    let mut rng = NoiseKey::new(61, Purpose::Data).rng(step, 0);
    let mut noise = Vec::new();
    let mut data = Vec::new();
    let mut classes = Vec::new();
    for _ in 0..ROWS {
        noise.extend([normal(&mut rng), normal(&mut rng)]);
        let (class, x) = mixture.sample(rng.random(), &[normal(&mut rng), normal(&mut rng)]);
        classes.push(class);
        data.extend(x);
    }
    (Rows::new(noise, ROWS).unwrap(), Rows::new(data, ROWS).unwrap(), classes)
}

/// The first coordinate of the noise that goes to a class, and the cost of all pairs, over all batches. Checks that
/// labels follow: a pair's label is the class whose side its data lie on.
fn noise_given(class: usize, coupling: &impl Coupling<2>) -> (Vec<f64>, Vec<f64>, f64) {
    let (mut along, mut across, mut cost) = (Vec::new(), Vec::new(), 0.0);
    for step in 0..BATCHES {
        let (noise, data, classes) = batch(step);
        let (x, y) = (tensor(&noise), tensor(&data));
        let pairing = coupling.pair(&Uncoupled::new(&x, &y, key(62), step).with_classes(&classes)).unwrap();
        for (pair, label) in pairing.follow(&classes).into_iter().enumerate() {
            let (z, x) = (noise.row(pairing.noise[pair]), data.row(pairing.data[pair]));
            assert_eq!(label, usize::from(x[0] > 0.0), "a label was left behind");
            cost += (z[0] - x[0]).powi(2) + (z[1] - x[1]).powi(2);
            if label == class {
                along.push(z[0]);
                across.push(z[1]);
            }
        }
    }
    (along, across, cost / (BATCHES as f64 * ROWS as f64))
}

#[test]
fn class_wise_transport_keeps_the_noise_of_each_class_normal() {
    // 40 batches of 128 rows, seed 61: about 1,700 and 3,400 rows a class; bounds of four standard errors.
    let sinkhorn = Sinkhorn::new(SquaredEuclidean, 0.5, Stop::new(1e-6, 10_000).unwrap()).unwrap();
    for class in [0, 1] {
        let results = [
            ("exact", noise_given(class, &ClassWise { inner: ExactOt::new() })),
            ("immiscible", noise_given(class, &ClassWise { inner: Immiscible })),
            ("independent", noise_given(class, &ClassWise { inner: Independent })),
        ];
        for (name, (along, across, _)) in &results {
            for values in [along, across] {
                assert!(Estimate::mean(values).deviation(0.0) < 4.0, "{name}, class {class}");
                assert!(Estimate::variance(values).deviation(1.0) < 4.0, "{name}, class {class}");
            }
        }
        // The first two permute the very same noise within the class.
        let sorted = |mut values: Vec<f64>| {
            values.sort_by(f64::total_cmp);
            values
        };
        let [(_, exact), (_, immiscible), (_, independent)] = results;
        assert_eq!(sorted(exact.0), sorted(independent.0.clone()));
        assert_eq!(sorted(immiscible.0), sorted(independent.0));
        assert!(exact.2 < 0.95 * independent.2, "coupling within classes still shortens the way");
        // Sinkhorn draws noise rows from the plan, some twice: they are not independent of each other, but their law
        // stays. Repeats make up at most all rows twice, a standard error sqrt(2) as large.
        let (along, across, _) = noise_given(class, &ClassWise { inner: sinkhorn });
        for values in [along, across] {
            assert!(Estimate::mean(&values).deviation(0.0) < 4.0 * 2.0_f64.sqrt());
            assert!(Estimate::variance(&values).deviation(1.0) < 4.0 * 2.0_f64.sqrt());
        }
    }
}

#[test]
fn plain_transport_gives_a_class_the_noise_on_its_own_side() {
    // As the batch grows, class 0, of weight 1/3, gets the third of the noise that lies furthest to its side. The
    // direction between the classes is e = (8, 1) / sqrt(65), so E[<z, e> | class 0] = -phi(q) / (1/3) with Phi(q) =
    // 1/3, q = -0.430727: -1.0908, and along the first axis times 8 / sqrt(65). At 128 rows the share of the classes
    // fluctuates and the clouds have a width: a tenth of that is room for both.
    let (along, _, _) = noise_given(0, &ExactOt::new());
    let exact = -1.090_8 * 8.0 / 65.0_f64.sqrt();
    let found = Estimate::mean(&along);
    assert!((found.value - exact).abs() < 0.1 * exact.abs(), "{found:?} vs {exact}");
    assert!(found.deviation(0.0) > 40.0, "far from N(0, 1): the bias that ClassWise removes");
}

#[test]
fn class_wise_pairs_are_the_optimum_under_an_infinite_price_for_the_wrong_class() {
    // C2OT's own formulation: one assignment of the whole batch, a pair across classes costs more than everything else.
    for step in 0..5 {
        let (noise, data, classes) = batch(step);
        let (x, y) = (tensor(&noise), tensor(&data));
        let labelled = |rows: &Rows| {
            let with = rows.iter().zip(&classes).flat_map(|(r, &c)| [r[0], r[1], c as f64]).collect();
            Rows::new(with, ROWS).unwrap()
        };
        let (a, b) = (tensor(&labelled(&noise)), tensor(&labelled(&data)));
        let priced = ExactOt {
            cost: |n: &[f64], d: &[f64]| {
                (n[0] - d[0]).powi(2) + (n[1] - d[1]).powi(2) + if n[2] == d[2] { 0.0 } else { 1e6 }
            },
        };
        let whole = priced.pair(&Uncoupled::new(&a, &b, key(0), step)).unwrap();
        let by_class = ClassWise { inner: ExactOt::new() };
        let by_class = by_class.pair(&Uncoupled::new(&x, &y, key(0), step).with_classes(&classes)).unwrap();
        assert_eq!(whole, by_class);
    }
}

#[test]
fn a_class_wise_coupling_has_the_law_of_its_inner_one() {
    let before = SourceLaw::GaussianIndependent;
    assert_eq!(Coupling::<2>::source_law(&ClassWise { inner: Independent }, before), before);
    assert_eq!(Coupling::<2>::source_law(&ClassWise { inner: Immiscible }, before), SourceLaw::Other);
}
