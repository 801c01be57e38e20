//! Pictures, pixel by pixel.

use advect_data::{Canvas, DataError, ImageGrid, save_color_gif, save_gif, save_png};
use image::{GrayImage, Luma, Rgb, RgbImage};
use std::{fs::File, path::Path};

/// Three images of 3x2 in two columns, each pixel 2x2 on the screen, 4 between them:
/// 2 * (6 + 4) + 4 = 24 wide, 2 * (4 + 4) + 4 = 20 high.
#[test]
fn a_grid_to_the_pixel() {
    let grid = ImageGrid { size: [3, 2], columns: 2, zoom: 2, range: [0.0, 10.0] };
    let values: Vec<f32> =
        vec![0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 10.0, 0.0, 0.0, 0.0, 0.0, 10.0, 5.0, -3.0, 30.0, 1.0, 1.0, 1.0];
    let shades: [u8; 18] = [0, 51, 102, 153, 204, 255, 255, 0, 0, 0, 0, 255, 128, 0, 255, 26, 26, 26];
    let picture = grid.draw(&values).unwrap();
    assert_eq!(picture.dimensions(), (24, 20));
    let mut expected = vec![vec![96_u8; 24]; 20];
    for (i, corner) in [(4, 4), (14, 4), (4, 12)].into_iter().enumerate() {
        for (k, (dx, dy)) in [(0, 0), (2, 0), (4, 0), (0, 2), (2, 2), (4, 2)].into_iter().enumerate() {
            for (x, y) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
                expected[corner.1 + dy + y][corner.0 + dx + x] = shades[6 * i + k];
            }
        }
    }
    assert_eq!(picture.as_raw(), &expected.concat());

    // Dark ink on white paper: the range the other way round.
    let ink = ImageGrid { range: [16.0, 0.0], size: [1, 1], zoom: 1, columns: 9 }.draw(&[0.0, 16.0, 4.0]).unwrap();
    assert_eq!(ink.dimensions(), (3 * 5 + 4, 9));
    assert_eq!([4, 9, 14].map(|x| ink.get_pixel(x, 4).0[0]), [255, 0, 191]);

    for (bad, pixels) in [
        (ImageGrid { columns: 0, ..grid.clone() }, 6),
        (ImageGrid { zoom: 0, ..grid.clone() }, 6),
        (ImageGrid { size: [0, 2], ..grid.clone() }, 6),
        (grid.clone(), 0),
        (grid.clone(), 7),
    ] {
        assert!(matches!(bad.draw(&vec![0.0; pixels]), Err(DataError::Shape { .. })));
    }
    assert_eq!(ImageGrid::zoom_for(8, 10, 640), 8);
    assert_eq!(ImageGrid::zoom_for(8, 20, 640), 4);
    assert_eq!(ImageGrid::zoom_for(256, 10, 640), 1);
}

#[test]
fn a_png_reads_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    let picture = GrayImage::from_fn(7, 5, |x, y| Luma([(x * 30 + y) as u8]));
    save_png(&picture, &path).unwrap();
    assert_eq!(image::open(&path).unwrap().into_luma8(), picture);
    let picture = RgbImage::from_fn(7, 5, |x, y| Rgb([x as u8, 255 - y as u8, 77]));
    save_png(&picture, &path).unwrap();
    assert_eq!(image::open(&path).unwrap().into_rgb8(), picture);
}

/// Frames as RGBA, and their delays in hundredths of a second.
fn decode(path: &Path) -> (Vec<Vec<u8>>, Vec<u16>, gif::Repeat) {
    let mut options = gif::DecodeOptions::new();
    options.set_color_output(gif::ColorOutput::RGBA);
    let mut decoder = options.read_info(File::open(path).unwrap()).unwrap();
    let (mut frames, mut delays) = (Vec::new(), Vec::new());
    while let Some(frame) = decoder.read_next_frame().unwrap() {
        assert_eq!((frame.left, frame.top), (0, 0));
        frames.push(frame.buffer.to_vec());
        delays.push(frame.delay);
    }
    (frames, delays, decoder.repeat())
}

#[test]
fn a_gray_gif_is_exact() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.gif");
    // All 256 shades.
    let frames: Vec<GrayImage> =
        (0..4).map(|k| GrayImage::from_fn(16, 17, |x, y| Luma([(x + 16 * y + 64 * k) as u8]))).collect();
    save_gif(&frames, &path).unwrap();
    let (decoded, delays, repeat) = decode(&path);
    let rgba = |frame: &GrayImage| frame.as_raw().iter().flat_map(|&v| [v, v, v, 255]).collect::<Vec<_>>();
    assert_eq!(decoded, frames.iter().map(rgba).collect::<Vec<_>>());
    assert_eq!(repeat, gif::Repeat::Infinite);
    // The last frame stands longest: it is the result.
    assert!(delays[..3].iter().all(|d| *d > 0 && *d == delays[0]) && delays[3] >= 10 * delays[0], "{delays:?}");
}

#[test]
fn a_color_gif_is_exact_up_to_256_colors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.gif");
    let rgba = |frame: &RgbImage| frame.pixels().flat_map(|p| [p.0[0], p.0[1], p.0[2], 255]).collect::<Vec<_>>();
    let frames: Vec<RgbImage> =
        (0..3).map(|k| RgbImage::from_fn(16, 16, |x, y| Rgb([x as u8 * 16, y as u8 * 16, 40 * k]))).collect();
    save_color_gif(&frames, &path).unwrap();
    assert_eq!(decode(&path).0, frames.iter().map(rgba).collect::<Vec<_>>());

    // 4,096 colours into 256: on average within a few shades, which no wrong palette is.
    let many = RgbImage::from_fn(64, 64, |x, y| Rgb([x as u8 * 4, y as u8 * 4, ((x + y) * 2) as u8]));
    save_color_gif(std::slice::from_ref(&many), &path).unwrap();
    let decoded = &decode(&path).0[0];
    let off: f64 = decoded.iter().zip(rgba(&many)).map(|(&a, b)| f64::from(a.abs_diff(b))).sum();
    assert!(off / (decoded.len() as f64) < 6.0, "{}", off / decoded.len() as f64);
}

#[test]
fn pictures_that_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.gif");
    let (small, large) = (GrayImage::new(2, 2), GrayImage::new(3, 2));
    for frames in [vec![], vec![small.clone(), large]] {
        let error = save_gif(&frames, &path).unwrap_err();
        assert!(error.to_string().contains("a.gif"), "{error}");
        assert!(!path.exists());
    }
    let error = save_gif(&[GrayImage::new(65_536, 1)], &path).unwrap_err();
    assert!(error.to_string().contains("65536 pixels are too many for a GIF"), "{error}");
    let nowhere = folder.path().join("no/such/folder");
    let mut results = vec![save_gif(std::slice::from_ref(&small), &nowhere), save_png(&small, &nowhere)];
    // A device that is always full: an error that only a flush would see is an error all the same.
    if cfg!(target_os = "linux") {
        results.extend([save_gif(std::slice::from_ref(&small), "/dev/full"), save_png(&small, "/dev/full")]);
        results.push(save_color_gif(&[RgbImage::new(2, 2)], "/dev/full"));
    }
    for result in results {
        assert!(matches!(result, Err(DataError::Picture { .. })), "{result:?}");
    }
}

/// How much of each pixel has the colour of the dots, against the empty canvas.
fn cover(picture: &RgbImage, empty: &RgbImage) -> Vec<(f64, f64, f64)> {
    let pixels = picture.enumerate_pixels().zip(empty.pixels());
    let changed = pixels.filter(|((_, _, new), old)| new != old);
    // Red dots: on white the green falls from 255 to 0.
    changed
        .map(|((x, y, new), old)| {
            (f64::from(x) + 0.5, f64::from(y) + 0.5, 1.0 - f64::from(new.0[1]) / f64::from(old.0[1]))
        })
        .collect()
}

#[test]
fn dots_lie_where_they_belong() {
    const RED: [u8; 3] = [255, 0, 0];
    let empty = Canvas::new(4.0, 400).into_picture();
    assert_eq!(empty.dimensions(), (400, 400));
    // 50 screen pixels a unit, y up: (1.3, 2.21) is at (265, 89.5).
    let mut canvas = Canvas::new(4.0, 400);
    canvas.dots(&[1.3, 2.21], RED, 6.0, 1.0);
    let picture = canvas.into_picture();
    assert_eq!(picture.get_pixel(265, 89).0, RED);
    let dot = cover(&picture, &empty);
    let area: f64 = dot.iter().map(|d| d.2).sum();
    let center = [dot.iter().map(|d| d.0 * d.2).sum::<f64>() / area, dot.iter().map(|d| d.1 * d.2).sum::<f64>() / area];
    assert!((center[0] - 265.0).abs() < 0.05 && (center[1] - 89.5).abs() < 0.05, "{center:?}");
    // The area of a disc of radius 6, its edge smoothed over a pixel.
    assert!((area / (36.0 * std::f64::consts::PI) - 1.0).abs() < 0.02, "{area}");
    assert!(dot.iter().all(|(x, y, _)| (x - 265.0).hypot(y - 89.5) < 6.5));

    // Half transparent is half way to the colour; two of them three quarters.
    for (dots, green) in [(1, 128), (2, 64)] {
        let mut canvas = Canvas::new(4.0, 400);
        (0..dots).for_each(|_| canvas.dots(&[1.3, 2.21], RED, 6.0, 0.5));
        assert_eq!(canvas.into_picture().get_pixel(265, 89).0, [255, green, green]);
    }
    // Outside, beyond every number, and half a pair: nothing.
    let mut canvas = Canvas::new(4.0, 400);
    canvas.dots(&[5.0, 0.0, 0.0, -7.0, f32::NAN, 0.0, f32::INFINITY, 1.0, 1.0], RED, 3.0, 1.0);
    assert_eq!(canvas.into_picture(), empty);
}

#[test]
fn axes_and_lines() {
    // Range 2 on 800 pixels: the axes at 400, ticks of 5 pixels either way at 200 and 600.
    let picture = Canvas::new(2.0, 800).into_picture();
    let dark = |x, y| picture.get_pixel(x, y).0[0] < 250;
    assert!(dark(400, 80) && dark(80, 400));
    for (x, y) in [(200, 404), (600, 395), (404, 200), (395, 600)] {
        assert!(dark(x, y), "{x} {y}");
    }
    assert!(!dark(200, 407) && !dark(300, 404) && !dark(120, 120));
    // Too many ticks are none, and never an endless loop.
    assert_eq!(Canvas::new(f64::INFINITY, 20).into_picture().dimensions(), (20, 20));

    let mut canvas = Canvas::new(2.0, 200);
    canvas.path(&[[-1.0, -1.0], [1.0, 1.0], [1.0, -1.5]], [0, 0, 255], 1.0);
    let picture = canvas.into_picture();
    let blue = |x, y| picture.get_pixel(x, y).0[0] < 130 && picture.get_pixel(x, y).0[2] == 255;
    // On the diagonal (y up), then straight down at x = 1.
    assert!(blue(75, 124) && blue(125, 74) && blue(149, 120) && blue(150, 170) && !blue(50, 50) && !blue(150, 180));
    // The line ends where its last point is, at y = 175.
    assert_eq!(picture.get_pixel(150, 176).0, [255; 3]);

    // Half transparent, it is as light at a joint as along the way; and twice over, it is darker.
    let draw = |times: usize| {
        let mut canvas = Canvas::new(2.0, 200);
        let points: Vec<[f64; 2]> = (0..=16).map(|k| [-1.6 + 0.2 * f64::from(k), 0.505]).collect();
        (0..times).for_each(|_| canvas.path(&points, [0, 0, 255], 0.5));
        let picture = canvas.into_picture();
        let row: Vec<u8> = (25..95).map(|x| picture.get_pixel(x, 74).0[0]).collect();
        assert!(row.iter().all(|&v| v == row[0]), "{row:?}");
        row[0]
    };
    assert!(draw(1) < 200 && draw(2) < draw(1));
}

#[test]
fn a_window_need_not_be_square_nor_start_at_zero() {
    // x from 10 to 14 on 200 pixels, y from -1 to 1 on 60: (11, 0.5) is at (50, 15).
    let mut canvas = Canvas::window([10.0, 14.0], [-1.0, 1.0], [200, 60]);
    canvas.dots(&[11.0, 0.5, 13.9, -0.9], [255, 0, 0], 3.0, 1.0);
    canvas.path(&[[10.0, 0.0], [14.0, 0.0]], [0, 0, 255], 1.0);
    let picture = canvas.into_picture();
    assert_eq!(picture.dimensions(), (200, 60));
    let red = |x, y| picture.get_pixel(x, y).0 == [255, 0, 0];
    assert!(red(50, 15) && red(48, 14) && red(195, 57) && !red(50, 22) && !red(56, 15));
    assert!(picture.get_pixel(2, 29).0[0] < 130 && picture.get_pixel(197, 30).0[0] < 130);
    // Nothing else: no cross, no ticks.
    assert_eq!(picture.get_pixel(100, 5).0, [255; 3]);
    assert_eq!(picture.pixels().filter(|p| p.0 != [255; 3]).count(), 400 + 2 * 32);
}
