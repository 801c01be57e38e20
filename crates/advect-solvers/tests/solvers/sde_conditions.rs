//! The order conditions of Rossler's tables (2010, theorems on SRA and SRI methods of strong order 1.5), as exact sums.

use advect_solvers::{SRA1, SRA2, SRA3, SRI1W1, SRI2W1, SraTableau, SriTableau};

fn dot<const S: usize>(a: &[f64; S], b: &[f64; S]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn apply<const S: usize>(m: &[[f64; S]; S], v: &[f64; S]) -> [f64; S] {
    m.map(|row| dot(&row, v))
}

fn square<const S: usize>(v: &[f64; S]) -> [f64; S] {
    v.map(|v| v * v)
}

/// What the conditions are off by; `drift` is the order without noise.
fn sra_defect<const S: usize>(t: &SraTableau<S>, drift: u32) -> f64 {
    let e = [1.0; S];
    let shift = apply(&t.b, &e);
    let rows = apply(&t.a, &e);
    let mut conditions = vec![
        (dot(&t.alpha, &e), 1.0),
        (dot(&t.beta, &e), 1.0),
        (dot(&t.gamma, &e), 0.0),
        (dot(&t.alpha, &rows), 0.5),
        (dot(&t.alpha, &shift), 1.0),
        (dot(&t.alpha, &square(&shift)), 1.5),
        // The diffusion in time: int g dW = g dW + g' (h dW - I_10).
        (dot(&t.beta, &t.d), 1.0),
        (dot(&t.gamma, &t.d), -1.0),
    ];
    conditions.extend((0..S).map(|i| (rows[i], t.c[i])));
    if drift == 3 {
        conditions.push((dot(&t.alpha, &square(&rows)), 1.0 / 3.0));
        conditions.push((dot(&t.alpha, &apply(&t.a, &rows)), 1.0 / 6.0));
    }
    conditions.iter().map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

fn sri_defect(t: &SriTableau, drift: u32) -> f64 {
    let e = [1.0; 4];
    let (shift, noise, ahead) = (apply(&t.b0, &e), apply(&t.b1, &e), apply(&t.a1, &e));
    let rows = apply(&t.a0, &e);
    let again = apply(&t.b1, &noise);
    let through = apply(&t.a1, &shift);
    let mut conditions = vec![
        (dot(&t.alpha, &e), 1.0),
        (dot(&t.alpha, &rows), 0.5),
        (dot(&t.alpha, &shift), 1.0),
        (dot(&t.alpha, &square(&shift)), 1.5),
        (0.5 * dot(&t.beta1, &through) + dot(&t.beta3, &through) / 3.0, 0.0),
    ];
    let weights = [&t.beta1, &t.beta2, &t.beta3, &t.beta4];
    let table: [([f64; 4], [f64; 4]); 5] = [
        (e, [1.0, 0.0, 0.0, 0.0]),
        (noise, [0.0, 1.0, 0.0, 0.0]),
        (ahead, [1.0, 0.0, -1.0, 0.0]),
        (square(&noise), [1.0, 0.0, -1.0, 2.0]),
        (again, [0.0, 0.0, 0.0, 1.0]),
    ];
    for (v, values) in table {
        conditions.extend(weights.iter().zip(values).map(|(w, value)| (dot(w, &v), value)));
    }
    conditions.extend((0..4).map(|i| (rows[i], t.c0[i])));
    conditions.extend((0..4).map(|i| (ahead[i], t.c1[i])));
    if drift == 3 {
        conditions.push((dot(&t.alpha, &square(&rows)), 1.0 / 3.0));
        conditions.push((dot(&t.alpha, &apply(&t.a0, &rows)), 1.0 / 6.0));
    }
    conditions.iter().map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

fn check_sra<const S: usize>(table: SraTableau<S>, drift: u32) {
    assert!(sra_defect(&table, drift) < 1e-15, "{}: {:e}", table.name, sra_defect(&table, drift));
    let matrices: [fn(&mut SraTableau<S>) -> &mut [[f64; S]; S]; 2] = [|t| &mut t.a, |t| &mut t.b];
    for pick in matrices {
        for i in 1..S {
            for j in 0..i {
                let mut mutated = table;
                if pick(&mut mutated)[i][j] == 0.0 {
                    continue;
                }
                pick(&mut mutated)[i][j] += 0.01;
                assert!(sra_defect(&mutated, drift) > 1e-4, "{}: stage coefficient [{i}][{j}]", table.name);
            }
        }
    }
    for i in 0..S {
        let mut mutated = table;
        mutated.d[i] += 0.01;
        assert!(table.beta[i] == 0.0 && table.gamma[i] == 0.0 || sra_defect(&mutated, drift) > 1e-4);
    }
}

#[test]
fn additive_noise() {
    check_sra(SRA1, 2);
    check_sra(SRA2, 2);
    check_sra(SRA3, 3);
}

#[test]
fn diagonal_noise() {
    for (table, drift) in [(SRI1W1, 2), (SRI2W1, 3)] {
        assert!(sri_defect(&table, drift) < 1e-14, "{}: {:e}", table.name, sri_defect(&table, drift));
        let matrices: [fn(&mut SriTableau) -> &mut [[f64; 4]; 4]; 4] =
            [|t| &mut t.a0, |t| &mut t.b0, |t| &mut t.a1, |t| &mut t.b1];
        for (which, pick) in matrices.into_iter().enumerate() {
            for i in 1..4 {
                for j in 0..i {
                    let mut mutated = table;
                    if pick(&mut mutated)[i][j] == 0.0 {
                        continue;
                    }
                    pick(&mut mutated)[i][j] += 0.01;
                    let defect = sri_defect(&mutated, drift);
                    assert!(defect > 1e-4, "{}: stage coefficient {which}[{i}][{j}]", table.name);
                }
            }
        }
    }
}
