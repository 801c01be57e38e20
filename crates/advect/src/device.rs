//! Which device a program runs on: chosen at run time among the backends that were compiled in.

use burn::tensor::{Device, FloatDType};

/// A device and how it is called on the command line.
#[derive(Debug, Clone)]
pub struct Chosen {
    /// The device.
    pub device: Device,
    /// Its name: `flex`, `wgpu`, `cuda:1`.
    pub name: String,
}

/// A device that this build and this machine have.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Listed {
    /// The device.
    pub device: Device,
    /// How it is called on the command line: `cuda:0`, `flex`.
    pub name: String,
    /// The part, as it names itself: `NVIDIA H100 PCIe`.
    pub part: String,
    /// What it is.
    pub kind: Kind,
    /// The bytes that it can hold, where that can be found out.
    pub memory: Option<u64>,
    /// The float types that it computes in: of f32, f16, bf16, f64.
    pub dtypes: Vec<&'static str>,
}

/// What a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The processor, through Flex.
    Processor,
    /// A graphics card or accelerator.
    Card,
    /// A graphics interface drawn by the processor, such as Mesa's lavapipe: right, and slow.
    Software,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Processor => "processor",
            Self::Card => "card",
            Self::Software => "software",
        })
    }
}

/// Why there is no such device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The name is none of ours.
    #[error(
        "there is no device `{name}`: choose one of {}, with a number behind it where there are several (cuda:1)",
        names()
    )]
    Unknown {
        /// The name given.
        name: String,
    },
    /// The backend is not part of this build.
    #[error(
        "device `{name}` is not compiled in: build with `--features {name}` (compiled in: {})",
        compiled().join(", ")
    )]
    NotCompiled {
        /// The device.
        name: &'static str,
    },
    /// The backend is compiled in, but this machine has no such card or driver.
    #[error(
        "device `{name}` is compiled in, but this machine has no card or driver for it; leave out the choice, or take `--device flex`"
    )]
    Absent {
        /// The device.
        name: &'static str,
    },
    /// There are devices of this backend, but not so many.
    #[error("there is no device `{name}:{index}`: this machine has {count} of the kind `{name}`, counted from 0")]
    Index {
        /// The device.
        name: &'static str,
        /// The number given.
        index: usize,
        /// How many there are.
        count: usize,
    },
    /// No server answers there, or it refuses.
    #[cfg(feature = "remote")]
    #[error("no device at `{url}`: {why}")]
    Unreachable {
        /// The address given.
        url: String,
        /// What went wrong.
        why: String,
    },
    /// No backend at all.
    #[error("no backend is compiled in: build with one of the features {}", names())]
    None,
}

/// Burn's order, cards before the processor, and whether each is part of this build.
const NAMES: [(&str, bool); 6] = [
    ("cuda", cfg!(feature = "cuda")),
    ("metal", cfg!(feature = "metal")),
    ("rocm", cfg!(feature = "rocm")),
    ("vulkan", cfg!(feature = "vulkan")),
    ("wgpu", cfg!(feature = "wgpu")),
    ("flex", cfg!(feature = "flex")),
];

fn names() -> String {
    NAMES.map(|(name, _)| name).join(", ")
}

/// The devices of this build, in the order in which they are tried.
#[must_use]
pub fn compiled() -> Vec<&'static str> {
    NAMES.into_iter().filter(|(_, compiled)| *compiled).map(|(name, _)| name).collect()
}

/// The backends that are not part of this build.
#[must_use]
pub fn missing() -> Vec<&'static str> {
    NAMES.into_iter().filter(|(_, compiled)| !compiled).map(|(name, _)| name).collect()
}

/// The backends of this build for which this machine has no card or driver.
#[must_use]
pub fn absent() -> Vec<&'static str> {
    compiled().into_iter().filter(|name| enumerate(name).is_empty()).collect()
}

/// The device of a name, or without a name the first that this machine really has.
///
/// A name may carry a number, as in `cuda:1`; without one it is the first of its kind. A program passes what its user
/// chose (a flag, else the environment variable `BURN_DEVICE`). With the feature `remote` it may also be the address of a
/// machine that serves its devices (`burn::server::RemoteServer`) on a network you trust: `ws://host:3000`, or
/// `ws://host:3000#1` for its second device. A missing card or driver is an error, never a panic;
/// without a name it is passed over. Software renderers that pose as cards are taken only by name.
///
/// # Errors
/// [`DeviceError`], with what to do about it.
pub fn choose(name: Option<&str>) -> Result<Chosen, DeviceError> {
    match name {
        #[cfg(feature = "remote")]
        Some(url) if url.starts_with("ws://") => remote(url),
        #[cfg(not(feature = "remote"))]
        Some(url) if url.starts_with("ws://") => Err(DeviceError::NotCompiled { name: "remote" }),
        Some(text) => {
            let unknown = || DeviceError::Unknown { name: text.to_owned() };
            let lower = text.to_ascii_lowercase();
            let (wanted, index) = match lower.split_once(':') {
                Some((name, index)) => (name, index.parse().map_err(|_| unknown())?),
                None => (&*lower, 0),
            };
            let (name, compiled) = NAMES.into_iter().find(|(name, _)| *name == wanted).ok_or_else(unknown)?;
            if !compiled {
                return Err(DeviceError::NotCompiled { name });
            }
            let mut devices = enumerate(name);
            match devices.len() {
                0 => Err(DeviceError::Absent { name }),
                count if index >= count => Err(DeviceError::Index { name, index, count }),
                _ => Ok(Chosen { device: devices.swap_remove(index), name: called(name, index) }),
            }
        }
        None => {
            let present = |name| {
                let mut devices = enumerate(name).into_iter().enumerate();
                devices.find(|(_, device)| kind(device) != Kind::Software).map(|(i, device)| (name, i, device))
            };
            let (name, index, device) = compiled().into_iter().find_map(present).ok_or(DeviceError::None)?;
            Ok(Chosen { device, name: called(name, index) })
        }
    }
}

#[cfg(feature = "remote")]
fn remote(url: &str) -> Result<Chosen, DeviceError> {
    let (host, index) = match url.split_once('#') {
        Some((host, index)) => (host, index.parse().map_err(|_| DeviceError::Unknown { name: url.to_owned() })?),
        None => (url, 0_usize),
    };
    let host = burn::remote::RemoteHost::websocket(host);
    let device = Device::remote_options(&host).device_index(index).init();
    let device = device.map_err(|error| DeviceError::Unreachable { url: url.to_owned(), why: error.to_string() })?;
    Ok(Chosen { device, name: url.to_owned() })
}

/// Every device that this build and this machine have, in the order in which they are tried. Opens each of them.
#[must_use]
pub fn list() -> Vec<Listed> {
    let mut listed = Vec::new();
    for name in compiled() {
        let devices = enumerate(name);
        let several = devices.len() > 1;
        for (index, device) in devices.into_iter().enumerate() {
            listed.push(Listed {
                name: if several { format!("{name}:{index}") } else { name.to_owned() },
                part: part(&device),
                kind: kind(&device),
                memory: memory(&device),
                dtypes: dtypes(&device),
                device,
            });
        }
    }
    listed
}

/// The float types that a device computes in.
fn dtypes(device: &Device) -> Vec<&'static str> {
    [("f32", FloatDType::F32), ("f16", FloatDType::F16), ("bf16", FloatDType::BF16), ("f64", FloatDType::F64)]
        .into_iter()
        .filter(|(_, dtype)| device.supports_dtype(*dtype))
        .map(|(name, _)| name)
        .collect()
}

fn called(name: &str, index: usize) -> String {
    if index == 0 { name.to_owned() } else { format!("{name}:{index}") }
}

#[cfg_attr(not(feature = "cube"), allow(unused_variables))]
fn enumerate(name: &str) -> Vec<Device> {
    match name {
        #[cfg(feature = "flex")]
        "flex" => vec![Device::flex()],
        #[cfg(feature = "cuda")]
        "cuda" => cards::all(burn::tensor::DeviceType::Cuda),
        #[cfg(feature = "metal")]
        "metal" => cards::all(burn::tensor::DeviceType::Metal),
        #[cfg(feature = "rocm")]
        "rocm" => cards::all(burn::tensor::DeviceType::Rocm),
        #[cfg(feature = "vulkan")]
        "vulkan" => cards::all(burn::tensor::DeviceType::Vulkan),
        #[cfg(feature = "wgpu")]
        "wgpu" => cards::all(burn::tensor::DeviceType::Wgpu),
        _ => Vec::new(),
    }
}

#[cfg(feature = "cube")]
use cards::{kind, memory, part};

#[cfg(feature = "cube")]
mod cards {
    use super::Kind;
    use burn::backend::DispatchDevice;
    use burn::tensor::{Device, DeviceType};
    use std::panic::{catch_unwind, set_hook, take_hook};

    /// The devices of a runtime. Runtimes panic where a driver is missing: here that means there is no card.
    pub(super) fn all(runtime: DeviceType) -> Vec<Device> {
        let hook = take_hook();
        set_hook(Box::new(|_| {}));
        let found = catch_unwind(move || {
            let devices = Device::enumerate(runtime).into_vec();
            // Asked here, where a driver that cannot open its device may still panic.
            devices.into_iter().filter(|device| device.identity().is_some()).collect()
        });
        set_hook(hook);
        found.unwrap_or_default()
    }

    pub(super) fn part(device: &Device) -> String {
        device.identity().map_or_else(super::processor, |identity| identity.name)
    }

    pub(super) fn kind(device: &Device) -> Kind {
        match device.identity() {
            None => Kind::Processor,
            Some(identity) => {
                let name = identity.name.to_ascii_lowercase();
                let software = ["llvmpipe", "swiftshader", "lavapipe", "basic render"].iter().any(|s| name.contains(s));
                if software { Kind::Software } else { Kind::Card }
            }
        }
    }

    pub(super) fn memory(device: &Device) -> Option<u64> {
        match device.as_dispatch() {
            DispatchDevice::Cube(device) => device.client().properties().memory.max_memory(),
            _ => super::main_memory(),
        }
    }
}

#[cfg(not(feature = "cube"))]
fn part(_: &Device) -> String {
    processor()
}

#[cfg(not(feature = "cube"))]
fn kind(_: &Device) -> Kind {
    Kind::Processor
}

#[cfg(not(feature = "cube"))]
fn memory(_: &Device) -> Option<u64> {
    main_memory()
}

/// The processor's name where the system tells it, and how many threads it runs at once.
fn processor() -> String {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let about = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = about.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let name = name.map_or(std::env::consts::ARCH, |(_, name)| name.trim());
    format!("{name}, {threads} threads")
}

/// The machine's own memory, where the system tells it.
fn main_memory() -> Option<u64> {
    let about = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = about.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    #[cfg(feature = "flex")]
    fn names_with_and_without_numbers() {
        for name in ["flex", "FLEX", "flex:0"] {
            let chosen = choose(Some(name)).unwrap();
            assert_eq!((chosen.name.as_str(), chosen.device), ("flex", Device::flex()));
        }
        let beyond = DeviceError::Index { name: "flex", index: 2, count: 1 };
        assert_eq!(choose(Some("flex:2")).unwrap_err(), beyond);
        assert!(beyond.to_string().contains("has 1 of the kind `flex`"), "{beyond}");
    }

    #[test]
    fn names_of_no_device() {
        for name in ["gpu", "", "flex:", "flex:first", "cuda:-1", ":0", "cuda:0:0"] {
            assert_eq!(choose(Some(name)).unwrap_err(), DeviceError::Unknown { name: name.to_owned() });
        }
    }

    #[test]
    #[cfg(not(feature = "rocm"))]
    fn a_backend_that_is_not_compiled_in_names_its_feature() {
        let error = choose(Some("rocm:0")).unwrap_err();
        assert_eq!(error, DeviceError::NotCompiled { name: "rocm" });
        assert!(error.to_string().contains("--features rocm"), "{error}");
    }

    #[test]
    #[cfg(not(feature = "remote"))]
    fn an_address_names_the_feature_too() {
        let error = choose(Some("ws://127.0.0.1:3000")).unwrap_err();
        assert_eq!(error, DeviceError::NotCompiled { name: "remote" });
    }

    #[test]
    #[cfg(feature = "flex")]
    fn the_list_can_be_chosen_from() {
        let listed = list();
        assert!(listed.iter().any(|one| one.kind == Kind::Processor && one.dtypes == ["f32", "f16", "bf16", "f64"]));
        for one in listed {
            assert_eq!(choose(Some(&one.name)).unwrap().device, one.device, "{}", one.name);
        }
    }
}
