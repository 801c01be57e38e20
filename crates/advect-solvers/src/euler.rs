use crate::Tableau;

/// Euler's method, order 1 (Euler, *Institutiones calculi integralis*, 1768): one evaluation a step.
pub const EULER: Tableau<1> = Tableau { name: "Euler", a: [[0.0]], b: [1.0], c: [0.0], order: 1 };
