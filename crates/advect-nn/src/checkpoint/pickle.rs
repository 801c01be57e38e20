//! The pickle of a PyTorch state dict, read as data.
//!
//! Python's own reader runs whatever a pickle names. This one knows dictionaries, lists, numbers, text and tensors; of the
//! functions a pickle may name it knows those that PyTorch writes into a state dict, and stops at any other. (Readers
//! that skip what they do not know exist; a file that asks for `os.system` should not look like a good one.)

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::rc::Rc;

use burn::tensor::{BoolStore, DType};

/// Why a pickle was not read.
#[derive(Debug)]
pub(crate) enum PickleError {
    /// It names something that is no part of a state dict.
    Code(String),
    /// It is no pickle, or one with something unknown in it.
    Damaged(String),
}

type Result<T> = std::result::Result<T, PickleError>;

fn damaged<T>(reason: impl Into<String>) -> Result<T> {
    Err(PickleError::Damaged(reason.into()))
}

/// The largest pickle that is read; the numbers lie outside of it. A tensor takes about 130 bytes.
pub(crate) const MOST_BYTES: u64 = 1 << 24;

/// How many values a pickle may make, and remember: each takes more memory here than in the file. A tensor takes about
/// 35, so that this is a network of 60,000 tensors.
const MOST_VALUES: usize = 1 << 21;

/// What to do about a pickle that is too large.
const ALONE: &str = "save the state dict alone, or as safetensors";

/// How deep dictionaries may lie in each other.
const MOST_DEPTH: usize = 32;

/// The longest name of a tensor, in bytes. Real ones have less than 200.
const MOST_NAME: usize = 1024;

/// How many axes a tensor may have. Weights have five at most.
const MOST_AXES: usize = 16;

/// What is left of a pickle.
pub(crate) struct Input<R> {
    reader: R,
    left: u64,
    /// Whether there is more than is read.
    capped: bool,
}

impl<R: Read> Input<R> {
    /// `length`: how many bytes there can be.
    pub(crate) fn new(reader: R, length: u64) -> Self {
        Self { reader, left: length.min(MOST_BYTES), capped: length > MOST_BYTES }
    }

    /// How many bytes are left.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    /// The next bytes; asks for memory only if there are as many.
    fn bytes(&mut self, count: u64) -> Result<Vec<u8>> {
        if count > self.left {
            return damaged(match self.capped {
                true => format!("its pickle has more than {MOST_BYTES} bytes: {ALONE}"),
                false => "its pickle ends too early".to_owned(),
            });
        }
        let mut bytes = vec![0; count as usize];
        if let Err(error) = self.reader.read_exact(&mut bytes) {
            return damaged(format!("its pickle cannot be read: {error}"));
        }
        self.left -= count;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(&self.bytes(N as u64)?);
        Ok(array)
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn text(&mut self, count: u64) -> Result<Rc<str>> {
        match String::from_utf8(self.bytes(count)?) {
            Ok(text) => Ok(text.into()),
            Err(_) => damaged("its pickle has text that is not UTF-8"),
        }
    }

    fn line(&mut self) -> Result<String> {
        let mut line = Vec::new();
        loop {
            match self.byte()? {
                b'\n' => return Ok(String::from_utf8_lossy(&line).into_owned()),
                byte => line.push(byte),
            }
        }
    }
}

/// The few functions and classes of a state dict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Size,
    Storage(DType),
    /// Harmless and without meaning here: settings that a training script saved beside the weights.
    Inert,
}

impl Global {
    fn named(module: &str, name: &str) -> Result<Self> {
        let storage = |dtype| Ok(Self::Storage(dtype));
        match (module, name) {
            ("collections", "OrderedDict") => Ok(Self::OrderedDict),
            ("torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor") => Ok(Self::RebuildTensor),
            ("torch._utils", "_rebuild_parameter") => Ok(Self::RebuildParameter),
            ("torch", "Size") => Ok(Self::Size),
            ("torch", "DoubleStorage") => storage(DType::F64),
            ("torch", "FloatStorage") => storage(DType::F32),
            ("torch", "HalfStorage") => storage(DType::F16),
            ("torch", "BFloat16Storage") => storage(DType::BF16),
            ("torch", "LongStorage") => storage(DType::I64),
            ("torch", "IntStorage") => storage(DType::I32),
            ("torch", "ShortStorage") => storage(DType::I16),
            ("torch", "CharStorage") => storage(DType::I8),
            ("torch", "ByteStorage") => storage(DType::U8),
            ("torch", "BoolStorage") => storage(DType::Bool(BoolStore::U8)),
            ("torch", "device" | "float32" | "float16" | "bfloat16" | "float64") => Ok(Self::Inert),
            ("argparse", "Namespace") => Ok(Self::Inert),
            _ => Err(PickleError::Code(format!("{module}.{name}"))),
        }
    }
}

/// Where a tensor's numbers are: elements of a storage, which the container has under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Strided {
    pub(crate) storage: Rc<Storage>,
    /// In elements.
    pub(crate) offset: u64,
    pub(crate) shape: Vec<usize>,
    pub(crate) stride: Vec<usize>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Storage {
    pub(crate) key: Rc<str>,
    pub(crate) dtype: DType,
    /// In elements.
    pub(crate) length: u64,
}

/// A value. Containers are numbers of nodes, so that a value may be in several places and dropping one is not recursive.
#[derive(Debug, Clone)]
enum Value {
    Nothing,
    Bool(bool),
    Int(i64),
    Text(Rc<str>),
    Global(Global),
    Storage(Rc<Storage>),
    Tensor(Rc<Strided>),
    Node(usize),
    Inert,
}

#[derive(Debug)]
enum Node {
    Sequence(Vec<Value>),
    Dict(Vec<(Value, Value)>),
}

/// The tensors found so far, and how much more is looked at.
struct Found {
    tensors: BTreeMap<String, Rc<Strided>>,
    /// How many values more.
    visits: u64,
    /// How many bytes more in all names together.
    names: u64,
}

/// What a pickle held.
pub(crate) struct Pickled {
    root: Value,
    nodes: Vec<Node>,
    /// In bytes: at least as many as the values that it was written with.
    size: u64,
}

impl Pickled {
    /// Its tensors by path, `ema.conv_in.weight` being the entry `conv_in.weight` of the entry `ema`.
    pub(crate) fn tensors(&self) -> Result<BTreeMap<String, Rc<Strided>>> {
        // A tensor takes 60 bytes and its key: this lets a small file repeat a few.
        let names = (4 * self.size + (1 << 16)).min(MOST_BYTES);
        let mut found = Found { tensors: BTreeMap::new(), visits: self.size, names };
        self.collect(&self.root, &mut String::new(), 0, &mut found)?;
        Ok(found.tensors)
    }

    fn collect(&self, value: &Value, path: &mut String, depth: usize, found: &mut Found) -> Result<()> {
        // A value in many places can make a small pickle a huge tree.
        found.visits = match found.visits.checked_sub(1) {
            Some(left) if depth <= MOST_DEPTH => left,
            _ => return damaged("its dictionaries contain each other"),
        };
        let node = match value {
            Value::Tensor(tensor) => {
                // A tensor in many places has a name in each. What is beside a name takes memory too.
                found.names = match found.names.checked_sub(64 + path.len() as u64) {
                    Some(left) => left,
                    None => return damaged("it repeats its tensors under too many names"),
                };
                return match found.tensors.insert(path.clone(), tensor.clone()) {
                    Some(_) => damaged(format!("it holds two tensors named `{path}`")),
                    None => Ok(()),
                };
            }
            Value::Node(index) => self.nodes.get(*index),
            _ => return Ok(()),
        };
        match node {
            Some(Node::Sequence(values)) => values
                .iter()
                .enumerate()
                .try_for_each(|(index, value)| self.entry(&index.to_string(), value, path, depth, found)),
            Some(Node::Dict(entries)) => entries.iter().try_for_each(|(key, value)| match key {
                Value::Text(key) => self.entry(key, value, path, depth, found),
                Value::Int(key) => self.entry(&key.to_string(), value, path, depth, found),
                _ => Ok(()),
            }),
            None => damaged("a value of its pickle is missing"),
        }
    }

    /// An entry of what is at `path`.
    fn entry(&self, key: &str, value: &Value, path: &mut String, depth: usize, found: &mut Found) -> Result<()> {
        let length = path.len();
        // The key may be a long text that a few bytes recall again and again: not copied before its length is known.
        if matches!(value, Value::Tensor(_) | Value::Node(_)) {
            if length + 1 + key.len() > MOST_NAME {
                return damaged(format!("it has a name of more than {MOST_NAME} bytes"));
            }
            if depth > 0 {
                path.push('.');
            }
            path.push_str(key);
        }
        self.collect(value, path, depth + 1, found)?;
        path.truncate(length);
        Ok(())
    }

    /// Its values, if it is a list of texts.
    pub(crate) fn texts(&self) -> Option<Vec<Rc<str>>> {
        let Value::Node(index) = self.root else { return None };
        let Some(Node::Sequence(values)) = self.nodes.get(index) else { return None };
        let text = |value: &Value| if let Value::Text(text) = value { Some(text.clone()) } else { None };
        values.iter().map(text).collect()
    }

    /// The entry of that name, if it is a dictionary with such a truth value in it.
    pub(crate) fn flag(&self, name: &str) -> Option<bool> {
        let Value::Node(index) = self.root else { return None };
        let Some(Node::Dict(entries)) = self.nodes.get(index) else { return None };
        entries.iter().find_map(|(key, value)| match (key, value) {
            (Value::Text(key), Value::Bool(flag)) if **key == *name => Some(*flag),
            _ => None,
        })
    }
}

/// Reads one pickle and leaves the input after it.
pub(crate) fn read<R: Read>(input: &mut Input<R>) -> Result<Pickled> {
    let before = input.left();
    let mut machine = Machine::default();
    let root = loop {
        let opcode = input.byte()?;
        if opcode == b'.' {
            break machine.pop()?;
        }
        machine.step(opcode, input)?;
    };
    Ok(Pickled { root, nodes: machine.nodes, size: before - input.left() })
}

/// A little-endian two's complement number of any length.
fn long(bytes: &[u8]) -> Value {
    if bytes.len() > 8 {
        return Value::Inert;
    }
    let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let mut word = [if negative { 0xff } else { 0 }; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    Value::Int(i64::from_le_bytes(word))
}

/// The stack machine of the pickle format (`pickletools` of Python documents the opcodes).
#[derive(Default)]
struct Machine {
    stack: Vec<Value>,
    /// The height of the stack at each open mark.
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
    nodes: Vec<Node>,
    /// How many values were made.
    made: usize,
}

impl Machine {
    fn step<R: Read>(&mut self, opcode: u8, input: &mut Input<R>) -> Result<()> {
        match opcode {
            0x80 => drop(input.byte()?),       // PROTO
            0x95 => drop(input.array::<8>()?), // FRAME
            b'(' => {
                self.charge(1)?;
                self.marks.push(self.stack.len());
            }
            b'0' => drop(self.pop()?),
            b'1' => drop(self.since_mark()?),
            b'2' => {
                let top = self.pop()?;
                self.push(top.clone())?;
                self.push(top)?;
            }

            b'N' => self.push(Value::Nothing)?,
            0x88 => self.push(Value::Bool(true))?,
            0x89 => self.push(Value::Bool(false))?,
            b'J' => self.push(Value::Int(i32::from_le_bytes(input.array()?).into()))?,
            b'K' => self.push(Value::Int(input.byte()?.into()))?,
            b'M' => self.push(Value::Int(u16::from_le_bytes(input.array()?).into()))?,
            0x8a => {
                let count = input.byte()?.into();
                self.push(long(&input.bytes(count)?))?;
            }
            0x8b => {
                let count = input.u32()?.into();
                self.push(long(&input.bytes(count)?))?;
            }
            b'G' => {
                input.array::<8>()?; // a float, such as a learning rate
                self.push(Value::Inert)?;
            }
            b'X' | b'T' => {
                let count = input.u32()?.into();
                self.push(Value::Text(input.text(count)?))?;
            }
            0x8c | b'U' => {
                let count = input.byte()?.into();
                self.push(Value::Text(input.text(count)?))?;
            }
            0x8d => {
                let count = u64::from_le_bytes(input.array()?);
                self.push(Value::Text(input.text(count)?))?;
            }
            b'B' | b'C' => {
                let count = if opcode == b'B' { input.u32()?.into() } else { input.byte()?.into() };
                input.bytes(count)?; // bytes, such as the state of a generator
                self.push(Value::Inert)?;
            }

            b'}' => self.node(Node::Dict(Vec::new()))?,
            b']' | b')' => self.node(Node::Sequence(Vec::new()))?,
            b't' | b'l' => {
                let values = self.since_mark()?;
                self.node(Node::Sequence(values))?;
            }
            0x85..=0x87 => {
                let count = usize::from(opcode - 0x84);
                let Some(start) = self.stack.len().checked_sub(count) else { return damaged("its pickle underflows") };
                let values = self.stack.split_off(start);
                self.node(Node::Sequence(values))?;
            }
            b'a' => {
                let value = self.pop()?;
                self.append(vec![value])?;
            }
            b'e' => {
                let values = self.since_mark()?;
                self.append(values)?;
            }
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.insert(vec![key, value])?;
            }
            b'u' => {
                let values = self.since_mark()?;
                self.insert(values)?;
            }

            b'q' => self.remember(input.array::<1>()?[0].into())?,
            b'r' => {
                let key = input.u32()?;
                self.remember(key)?;
            }
            0x94 => self.remember(self.memo.len() as u32)?,
            b'h' => self.recall(input.byte()?.into())?,
            b'j' => {
                let key = input.u32()?;
                self.recall(key)?;
            }

            b'c' => {
                let (module, name) = (input.line()?, input.line()?);
                self.push(Value::Global(Global::named(&module, &name)?))?;
            }
            0x93 => match (self.pop()?, self.pop()?) {
                (Value::Text(name), Value::Text(module)) => {
                    self.push(Value::Global(Global::named(&module, &name)?))?;
                }
                _ => return damaged("its pickle names a function without a name"),
            },
            // INST: a class, named and called at once.
            b'i' => return Err(PickleError::Code(format!("{}.{}", input.line()?, input.line()?))),
            b'R' | 0x81 => {
                let (arguments, function) = (self.pop()?, self.pop()?);
                let made = self.call(&function, &arguments)?;
                self.push(made)?;
            }
            b'b' => {
                // The attributes of an object: those of a state dict (its version) and of settings say nothing here.
                self.pop()?;
                match self.stack.last() {
                    Some(Value::Inert) => {}
                    Some(Value::Node(index)) if matches!(self.nodes.get(*index), Some(Node::Dict(_))) => {}
                    _ => return damaged("its pickle sets attributes of something else than a dictionary"),
                }
            }
            b'Q' => {
                let id = self.pop()?;
                let storage = self.storage(&id)?;
                self.push(Value::Storage(Rc::new(storage)))?;
            }
            other => return damaged(format!("its pickle has the opcode {other:#04x}, which no state dict has")),
        }
        Ok(())
    }

    fn pop(&mut self) -> Result<Value> {
        if self.marks.last().is_some_and(|&mark| mark >= self.stack.len()) {
            return damaged("its pickle underflows");
        }
        self.stack.pop().map_or_else(|| damaged("its pickle underflows"), Ok)
    }

    fn since_mark(&mut self) -> Result<Vec<Value>> {
        match self.marks.pop() {
            Some(mark) if mark <= self.stack.len() => Ok(self.stack.split_off(mark)),
            _ => damaged("its pickle closes what it did not open"),
        }
    }

    /// Counts values, so that few bytes do not take much memory.
    fn charge(&mut self, values: usize) -> Result<()> {
        self.made = self.made.saturating_add(values);
        if self.made > MOST_VALUES {
            return damaged(format!("its pickle holds more than {MOST_VALUES} values: {ALONE}"));
        }
        Ok(())
    }

    fn push(&mut self, value: Value) -> Result<()> {
        self.charge(1)?;
        self.stack.push(value);
        Ok(())
    }

    fn node(&mut self, node: Node) -> Result<()> {
        self.nodes.push(node);
        self.push(Value::Node(self.nodes.len() - 1))
    }

    fn append(&mut self, values: Vec<Value>) -> Result<()> {
        let Some(Value::Node(index)) = self.stack.last() else { return damaged("its pickle appends to no list") };
        match self.nodes.get_mut(*index) {
            Some(Node::Sequence(list)) => list.extend(values),
            _ => return damaged("its pickle appends to no list"),
        }
        Ok(())
    }

    fn insert(&mut self, values: Vec<Value>) -> Result<()> {
        let index = match self.stack.last() {
            Some(Value::Node(index)) => *index,
            _ => return damaged("its pickle inserts into no dictionary"),
        };
        match self.nodes.get_mut(index) {
            Some(Node::Dict(entries)) if values.len().is_multiple_of(2) => {
                let mut values = values.into_iter();
                while let (Some(key), Some(value)) = (values.next(), values.next()) {
                    entries.push((key, value));
                }
                Ok(())
            }
            _ => damaged("its pickle inserts into no dictionary"),
        }
    }

    fn remember(&mut self, key: u32) -> Result<()> {
        self.charge(1)?;
        match self.stack.last() {
            Some(top) => drop(self.memo.insert(key, top.clone())),
            None => return damaged("its pickle underflows"),
        }
        Ok(())
    }

    fn recall(&mut self, key: u32) -> Result<()> {
        match self.memo.get(&key).cloned() {
            Some(value) => self.push(value),
            None => damaged("its pickle recalls what it did not remember"),
        }
    }

    fn sequence(&self, value: &Value) -> Option<&[Value]> {
        let Value::Node(index) = value else { return None };
        let Some(Node::Sequence(values)) = self.nodes.get(*index) else { return None };
        Some(values)
    }

    /// What PyTorch would get from calling one of its few functions.
    fn call(&mut self, function: &Value, arguments: &Value) -> Result<Value> {
        let Value::Global(function) = function else { return damaged("its pickle calls what is no function") };
        let Some(arguments) = self.sequence(arguments) else { return damaged("its pickle calls without arguments") };
        match (function, arguments) {
            (Global::Inert, _) => Ok(Value::Inert),
            (Global::RebuildParameter, [tensor @ Value::Tensor(_), ..]) => Ok(tensor.clone()),
            (Global::Size, [sizes]) => Ok(sizes.clone()),
            (Global::RebuildTensor, [Value::Storage(storage), Value::Int(offset), shape, stride, ..]) => {
                let sizes = |value| {
                    let values = self.sequence(value).filter(|values| values.len() <= MOST_AXES)?.iter();
                    values.map(|size| if let Value::Int(n) = size { usize::try_from(*n).ok() } else { None }).collect()
                };
                let (Ok(offset), Some(shape), Some(stride)) = (u64::try_from(*offset), sizes(shape), sizes(stride))
                else {
                    return damaged("its pickle has a tensor without a shape");
                };
                let tensor = Strided { storage: storage.clone(), offset, shape, stride };
                // Twice the axes, and the rest.
                self.charge(8 + 2 * tensor.shape.len())?;
                Ok(Value::Tensor(Rc::new(tensor)))
            }
            (Global::OrderedDict, []) => {
                self.nodes.push(Node::Dict(Vec::new()));
                Ok(Value::Node(self.nodes.len() - 1))
            }
            (Global::OrderedDict, [pairs]) => {
                let pairs = self.sequence(pairs).unwrap_or_default().iter();
                let pairs = pairs.map(|pair| match self.sequence(pair)? {
                    [key, value] => Some((key.clone(), value.clone())),
                    _ => None,
                });
                let entries: Option<Vec<_>> = pairs.collect();
                let Some(entries) = entries else { return damaged("its pickle has a dictionary of no pairs") };
                self.charge(2 * entries.len())?;
                self.nodes.push(Node::Dict(entries));
                Ok(Value::Node(self.nodes.len() - 1))
            }
            (function, _) => damaged(format!("its pickle calls {function:?} with arguments that do not fit")),
        }
    }

    /// `("storage", type, key, device, length)`, and in old files a view of it.
    fn storage(&self, id: &Value) -> Result<Storage> {
        match self.sequence(id) {
            Some(
                [Value::Text(kind), Value::Global(Global::Storage(dtype)), Value::Text(key), _, Value::Int(length)]
                | [
                    Value::Text(kind),
                    Value::Global(Global::Storage(dtype)),
                    Value::Text(key),
                    _,
                    Value::Int(length),
                    Value::Nothing,
                ],
            ) if **kind == *"storage" && *length >= 0 => {
                Ok(Storage { key: key.clone(), dtype: *dtype, length: *length as u64 })
            }
            _ => damaged("its pickle refers to something else than a storage"),
        }
    }
}
