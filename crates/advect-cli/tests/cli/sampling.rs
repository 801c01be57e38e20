use crate::{Bench, DIGITS, MOONS, npy};
use std::io::Read;

#[test]
fn samples_do_not_depend_on_the_batch() {
    let bench = Bench::new();
    bench.ok(&format!("{DIGITS} --quiet"));
    for solver in ["--solver heun --steps 3", "--solver dopri5 --rtol 1e-3 --atol 1e-3"] {
        let mut all = Vec::new();
        for batch in [1, 7, 1000] {
            bench.ok(&format!("sample run --count 10 --batch {batch} --seed 5 --guidance 2 {solver} --out s.npy"));
            let (values, header) = npy(&bench.path("s.npy"));
            assert!(header.contains("(10, 1, 8, 8"), "{header}");
            all.push(values);
        }
        for other in &all[1..] {
            // 1e-4 in model units is 8e-4 in pixels.
            let worst = all[0].iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst <= 8e-4, "{solver}: samples differ by {worst}");
        }
        // And sample i is the same sample whatever the count.
        bench.ok(&format!("sample run --count 4 --seed 5 --guidance 2 {solver} --out t.npy"));
        let (few, _) = npy(&bench.path("t.npy"));
        let worst = few.iter().zip(&all[0]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst <= 8e-4, "{solver}: {worst}");
    }
}

#[test]
fn every_format_holds_the_same_samples() {
    let bench = Bench::new();
    bench.ok(&format!("{DIGITS} --quiet"));
    for out in ["s.npy", "s.npz", "s.safetensors", "s.png", "s.gif"] {
        let said = bench.ok(&format!("sample run --count 20 --classes all --steps 2 --solver euler --out {out}"));
        assert!(said.contains(out) && said.contains("2.0 evaluations each") && said.contains("samples/s"), "{said}");
    }
    let (values, _) = npy(&bench.path("s.npy"));
    let bytes = bench.bytes("s.safetensors");
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let samples = file.tensor("samples").unwrap();
    assert_eq!(samples.shape(), [20, 1, 8, 8]);
    let same: Vec<f32> = samples.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    assert_eq!(values, same);
    let labels = file.tensor("labels").unwrap();
    let labels: Vec<i64> = labels.data().chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap())).collect();
    assert_eq!(labels, (0..20).map(|i| i % 10).collect::<Vec<_>>());
    let mut archive = zip::ZipArchive::new(std::fs::File::open(bench.path("s.npz")).unwrap()).unwrap();
    let mut array = |name: &str| {
        let mut bytes = Vec::new();
        archive.by_name(name).unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    };
    let (samples, classes) = (array("samples.npy"), array("labels.npy"));
    let samples = npyz::NpyFile::new(&samples[..]).unwrap();
    assert_eq!(samples.shape(), [20, 1, 8, 8]);
    assert_eq!(samples.into_vec::<f32>().unwrap(), values);
    assert_eq!(npyz::NpyFile::new(&classes[..]).unwrap().into_vec::<i64>().unwrap(), labels);
    assert_eq!(image::open(bench.path("s.png")).unwrap().to_luma8().height(), 10 * (8 * 8 + 4) + 4, "a row a class");
    assert_eq!(&bench.bytes("s.gif")[..6], b"GIF89a");
}

#[test]
fn solvers_agree_on_where_the_flow_leads() {
    let bench = Bench::new();
    bench.ok(&format!("{MOONS} --quiet"));
    bench.ok("sample run --count 50 --solver rk4 --steps 200 --out reference.npy");
    let (reference, _) = npy(&bench.path("reference.npy"));
    for (solver, bound, evaluations) in [
        ("euler --steps 400", 2e-2, "400.0"),
        ("midpoint --steps 100", 2e-3, "200.0"),
        ("heun --steps 100", 2e-3, "200.0"),
        ("rk4 --steps 25", 2e-3, "100.0"),
        ("dopri5 --rtol 1e-6 --atol 1e-6", 1e-3, ""),
    ] {
        let said = bench.ok(&format!("sample run --count 50 --solver {solver} --out s.npy"));
        assert!(said.contains(&format!("{evaluations} evaluations")) || evaluations.is_empty(), "{said}");
        let (values, _) = npy(&bench.path("s.npy"));
        let worst = values.iter().zip(&reference).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst <= bound, "{solver}: {worst} from the reference");
    }
}

#[test]
fn the_device_may_draw_the_noise() {
    let bench = Bench::new();
    bench.ok(&format!("{DIGITS} --quiet"));
    // At the start, and on the way of an SDE.
    for solver in ["--solver euler", "--solver euler-maruyama"] {
        let draw = |more: &str| {
            bench.ok(&format!("sample run --count 6 --steps 3 {solver} --out s.npy {more}"));
            npy(&bench.path("s.npy")).0
        };
        let [host, device] = ["", "--noise device"].map(draw);
        assert_eq!(draw("--noise host"), host);
        assert_eq!(draw("--noise device"), device, "a seed is a seed");
        assert_ne!(device, host);
        assert_ne!(draw("--noise device --seed 1"), device);
        assert!(device.iter().all(|x| x.is_finite()));
    }
}

#[test]
fn weights_classes_and_seeds_matter() {
    let bench = Bench::new();
    bench.ok(&format!("{DIGITS} --quiet --set train.ema=0.9"));
    let draw = |more: &str| {
        bench.ok(&format!("sample run --count 3 --steps 2 --out s.npy {more}"));
        npy(&bench.path("s.npy")).0
    };
    let base = draw("--class 3");
    assert_eq!(base, draw("--class 3 --weights ema"));
    for other in ["--class 3 --weights model", "--class 4", "--class 3 --seed 1", "--class 3 --guidance 5"] {
        assert_ne!(base, draw(other), "{other} changed nothing");
    }
}
