use advect_core::{State, Times};

/// `scale x + sum c_i d_i`, with factors of the batch or of each row.
pub(crate) fn combine<X: State, const N: usize>(x: X, scale: &Times, terms: [(&Times, &X); N]) -> X {
    let shared = |factor: &Times| matches!(factor, Times::Shared(_));
    if shared(scale) && terms.iter().all(|(factor, _)| shared(factor)) {
        return x.combine(scale.at(0), &terms.map(|(factor, term)| (factor.at(0), term)));
    }
    let rows = x.rows();
    let factors = terms.map(|(factor, _)| factor.to_vec(rows));
    let terms: [(&[f64], &X); N] = std::array::from_fn(|i| (factors[i].as_slice(), terms[i].1));
    x.combine_rows(&scale.to_vec(rows), &terms)
}

/// `x + sum c_i d_i`.
pub(crate) fn add<X: State, const N: usize>(x: X, terms: [(&Times, &X); N]) -> X {
    combine(x, &Times::Shared(1.0), terms)
}

/// The signed step and its length.
pub(crate) fn size_and_length(from: &Times, to: &Times) -> (Times, Times) {
    let size = from.zip(to, |a, b| b - a);
    let length = size.map(f64::abs);
    (size, length)
}

/// The time at a fraction of the step; the ends bit for bit.
pub(crate) fn between(from: &Times, to: &Times, fraction: f64) -> Times {
    if fraction == 0.0 {
        from.clone()
    } else if fraction == 1.0 {
        to.clone()
    } else {
        from.zip(to, |a, b| a + fraction * (b - a))
    }
}
