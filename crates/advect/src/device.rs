//! Which device a program runs on: chosen at run time among the backends that were compiled in.

use burn::tensor::Device;

/// A device and how it is called on the command line.
#[derive(Debug, Clone)]
pub struct Chosen {
    /// The device.
    pub device: Device,
    /// Its name: `cuda`, `vulkan`, `wgpu` or `flex`.
    pub name: &'static str,
}

/// Why there is no such device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The name is none of ours.
    #[error("there is no device `{name}`: choose one of cuda, vulkan, wgpu, flex")]
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
    /// No backend at all.
    #[error("no backend is compiled in: build with one of the features flex, wgpu, vulkan, cuda")]
    None,
}

/// Burn's order, cards before the processor, and whether each is part of this build.
const NAMES: [(&str, bool); 4] = [
    ("cuda", cfg!(feature = "cuda")),
    ("vulkan", cfg!(feature = "vulkan")),
    ("wgpu", cfg!(feature = "wgpu")),
    ("flex", cfg!(feature = "flex")),
];

/// The devices of this build, in the order in which they are tried.
#[must_use]
pub fn compiled() -> Vec<&'static str> {
    NAMES.into_iter().filter(|(_, compiled)| *compiled).map(|(name, _)| name).collect()
}

/// The device of a name, or without a name the first that this machine really has.
///
/// A program passes what its user chose (a flag, else the environment variable `BURN_DEVICE`). A missing card or
/// driver is an error, never a panic; without a name it is passed over. Software renderers that pose as cards are
/// taken only by name.
///
/// # Errors
/// [`DeviceError`], with what to do about it.
pub fn choose(name: Option<&str>) -> Result<Chosen, DeviceError> {
    match name {
        Some(name) => {
            let lower = name.to_ascii_lowercase();
            let known = NAMES.into_iter().find(|(name, _)| *name == lower);
            let (name, compiled) = known.ok_or_else(|| DeviceError::Unknown { name: name.to_owned() })?;
            if !compiled {
                return Err(DeviceError::NotCompiled { name });
            }
            let device = find(name, true).ok_or(DeviceError::Absent { name })?;
            Ok(Chosen { device, name })
        }
        None => {
            let present = |name| find(name, false).map(|device| Chosen { device, name });
            compiled().into_iter().find_map(present).ok_or(DeviceError::None)
        }
    }
}

#[cfg_attr(not(any(feature = "cuda", feature = "vulkan", feature = "wgpu")), allow(unused_variables))]
fn find(name: &str, by_name: bool) -> Option<Device> {
    match name {
        #[cfg(feature = "flex")]
        "flex" => Some(Device::flex()),
        #[cfg(feature = "cuda")]
        "cuda" => cards::first(burn::tensor::DeviceType::Cuda, by_name),
        #[cfg(feature = "vulkan")]
        "vulkan" => cards::first(burn::tensor::DeviceType::Vulkan, by_name),
        #[cfg(feature = "wgpu")]
        "wgpu" => cards::first(burn::tensor::DeviceType::Wgpu, by_name),
        _ => None,
    }
}

#[cfg(any(feature = "cuda", feature = "vulkan", feature = "wgpu"))]
mod cards {
    use burn::tensor::{Device, DeviceType};
    use std::panic::{catch_unwind, set_hook, take_hook};

    /// The first card of a runtime. Runtimes panic where a driver is missing: here that means there is no card.
    pub(super) fn first(kind: DeviceType, software_too: bool) -> Option<Device> {
        let hook = take_hook();
        set_hook(Box::new(|_| {}));
        let found = catch_unwind(move || {
            let is_card = |device: &Device| software_too || device.identity().is_some_and(|id| !is_software(&id.name));
            Device::enumerate(kind).into_iter().find(is_card)
        });
        set_hook(hook);
        found.ok().flatten()
    }

    fn is_software(name: &str) -> bool {
        ["llvmpipe", "swiftshader", "lavapipe", "basic render"].iter().any(|s| name.to_ascii_lowercase().contains(s))
    }
}
