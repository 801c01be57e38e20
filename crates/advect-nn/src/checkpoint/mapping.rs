//! A layout applied to one network: which tensors of theirs make up which parameter of ours.

use std::collections::{BTreeMap, BTreeSet};

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;

use super::layout::{captures, fill};
use super::{CheckpointError, Form, Layout, Manifest, Misshapen};

/// A layout, for one network.
#[derive(Debug)]
pub(crate) struct Mapping {
    pub(crate) layout: Layout,
    /// By our name.
    pub(crate) slots: BTreeMap<String, Slot>,
    /// The shapes of our parameters.
    pub(crate) shapes: BTreeMap<String, Vec<usize>>,
}

/// A parameter of ours.
#[derive(Debug)]
pub(crate) struct Slot {
    /// Their tensors: equal parts along the output axis, or copies.
    pub(crate) theirs: Vec<String>,
    pub(crate) copies: bool,
    pub(crate) form: Form,
    /// The shape of each of theirs.
    pub(crate) shape: Vec<usize>,
}

impl Mapping {
    /// Reads names and shapes only: no weight is allocated that was not before.
    pub(crate) fn of<M: Module>(module: &M, layout: &Layout) -> Result<Self, CheckpointError> {
        let wrong = |reason| CheckpointError::Layout { layout: layout.name, reason };
        let shapes = parameters(module);
        let (mut slots, mut taken, mut copied) = (BTreeMap::new(), BTreeSet::new(), Vec::new());
        for (name, ours) in &shapes {
            let found = layout.rows.iter().find_map(|row| Some((row, captures(row.ours, name)?)));
            let (row, captured) = found.ok_or_else(|| wrong(format!("no row matches our `{name}`")))?;
            let theirs: Vec<String> = row.theirs.iter().map(|pattern| fill(pattern, &captured)).collect();
            let shape = their_shape(row.form, ours, theirs.len()).ok_or_else(|| {
                wrong(format!("`{name}` {ours:?} is not made of {} {:?} tensors", theirs.len(), row.form))
            })?;
            let copies = theirs.iter().any(|name| name.split('.').any(|segment| segment == "*"));
            if copies {
                copied.push(name.clone());
            } else {
                taken.extend(theirs.iter().cloned());
            }
            slots.insert(name.clone(), Slot { theirs, copies, form: row.form, shape });
        }
        for name in copied {
            let Some(slot) = slots.get_mut(&name) else { continue };
            slot.theirs = match &slot.theirs[..] {
                [pattern] => indices(pattern, &taken).iter().map(|index| fill(pattern, &[index.as_str()])).collect(),
                _ => Vec::new(),
            };
            if slot.theirs.is_empty() {
                return Err(wrong(format!("`{name}` has a `*` more on their side, but there is nothing to count")));
            }
        }

        let mut owner: BTreeMap<&str, &str> = BTreeMap::new();
        for (ours, theirs) in slots.iter().flat_map(|(ours, slot)| slot.theirs.iter().map(move |name| (ours, name))) {
            if let Some(other) = owner.insert(theirs, ours) {
                return Err(wrong(format!("`{ours}` and `{other}` are both at `{theirs}`")));
            }
        }
        Ok(Self { layout: *layout, slots, shapes })
    }

    /// Compares names, shapes and types with those of a checkpoint.
    pub(crate) fn check(&self, manifest: &Manifest) -> Result<(), CheckpointError> {
        let (mut missing, mut misshapen, mut not_float) = (Vec::new(), Vec::new(), None);
        let mut known: BTreeSet<&str> = self.layout.constants.iter().map(|constant| constant.theirs).collect();
        for (slot, name) in self.slots.values().flat_map(|slot| slot.theirs.iter().map(move |name| (slot, name))) {
            known.insert(name);
            match manifest.get(name) {
                None => missing.push(name.clone()),
                Some(entry) if entry.shape != slot.shape => misshapen.push(Misshapen {
                    name: name.clone(),
                    expected: slot.shape.clone(),
                    found: entry.shape.clone(),
                }),
                Some(entry) if !entry.dtype.is_float() => not_float = not_float.or(Some((name, entry.dtype))),
                Some(_) => {}
            }
        }
        let unexpected: Vec<String> = manifest.keys().filter(|name| !known.contains(name.as_str())).cloned().collect();
        if !(missing.is_empty() && unexpected.is_empty() && misshapen.is_empty()) {
            return Err(CheckpointError::Mismatch { layout: self.layout.name, missing, unexpected, misshapen });
        }
        match not_float {
            Some((name, dtype)) => Err(CheckpointError::NotFloat { name: name.clone(), dtype }),
            None => Ok(()),
        }
    }
}

/// The shape of each of `parts` tensors of theirs that make up one of ours; `None` if they cannot.
fn their_shape(form: Form, ours: &[usize], parts: usize) -> Option<Vec<usize>> {
    let mut shape = match (form, ours) {
        (Form::Same, shape) => shape.to_vec(),
        (Form::Linear, &[from, to]) => vec![to, from],
        (Form::Swapped, &[to]) if to.is_multiple_of(2) => vec![to],
        (Form::Swapped, &[from, to]) if to.is_multiple_of(2) => vec![to, from],
        (Form::Conv1x1, &[from, to]) => vec![to, from, 1, 1],
        _ => return None,
    };
    if parts != 1 {
        let to = shape.first_mut()?;
        if parts == 0 || !to.is_multiple_of(parts) {
            return None;
        }
        *to /= parts;
    }
    Some(shape)
}

/// The segments of `names` in the place of the pattern's `*`, in names that begin as it does.
fn indices(pattern: &str, names: &BTreeSet<String>) -> BTreeSet<String> {
    let prefix: Vec<&str> = pattern.split('.').take_while(|&segment| segment != "*").collect();
    let found = names.iter().filter_map(|name| {
        let mut segments = name.split('.');
        prefix.iter().all(|&segment| segments.next() == Some(segment)).then_some(())?;
        segments.next().filter(|index| index.bytes().all(|byte| byte.is_ascii_digit()))
    });
    found.map(str::to_owned).collect()
}

/// The names and shapes of a network's parameters, without making any.
///
/// Networks of this crate make their weights when they are first used; this does not use them.
pub fn parameters<M: Module>(module: &M) -> BTreeMap<String, Vec<usize>> {
    let mut shapes = Shapes::default();
    module.visit(&mut shapes);
    shapes.found
}

/// Collects the names and shapes of a network's parameters.
#[derive(Default)]
struct Shapes {
    path: Vec<String>,
    found: BTreeMap<String, Vec<usize>>,
}

impl ModuleVisitor for Shapes {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.found.insert(self.path.join("."), param.lazy_shape().to_vec());
    }
}
