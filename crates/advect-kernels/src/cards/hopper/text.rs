//! CUDA C++ text inside CubeCL kernels, for CubeCL's compiler to C++ (`cuda-cpp`).
//!
//! An operation holds text in which `{0}`, `{1}`, .. stand for the C++ names of its operands. Other braces are left as they are.
use cubecl::prelude::*;
use cubecl_cpp::shared::CppValue;
use cubecl_cpp::shared::operation::OpToCPP;
use cubecl_cpp::shared::signature::RequiresIncludesOp;
use cubecl_cpp::target::Cuda;
use cubecl_ir::attributes::IndexAttr;
use cubecl_ir::interfaces::side_effects::{MemoryEffect, MemoryEffectsOp};
use cubecl_ir::types::PointerType;
use cubecl_ir::{Scope, SliceMetadata};
use pliron::builtin::attributes::StringAttr;
use pliron::context::Context;
use pliron::derive::{op_interface_impl, pliron_op};
use pliron::op::Op;
use pliron::operation::Operation;
use pliron::opts::dce::SideEffects;
use pliron::r#type::Typed;
use pliron::value::Value;

/// Text in a kernel. It writes to what its first operands point to (so many as an attribute says), and reads what the others point to.
#[pliron_op(
    name = "advect.cuda_text",
    format,
    attributes = (
        advect_cuda_text_text: StringAttr,
        advect_cuda_text_includes: StringAttr,
        advect_cuda_text_written: IndexAttr
    ),
    verifier = "succ"
)]
pub(super) struct CudaTextOp;

#[allow(clippy::unwrap_used)] // `new` gives every operation all three.
impl CudaTextOp {
    fn new(ctx: &mut Context, text: String, includes: &str, written: &[Value], read: &[Value]) -> Self {
        let operands = [written, read].concat();
        let op = Self { op: Operation::new(ctx, Self::get_concrete_op_info(), vec![], operands, vec![], 0) };
        op.set_attr_advect_cuda_text_text(ctx, StringAttr::new(text));
        op.set_attr_advect_cuda_text_includes(ctx, StringAttr::new(includes.into()));
        op.set_attr_advect_cuda_text_written(ctx, IndexAttr::new(written.len()));
        op
    }

    fn operands(&self, ctx: &Context) -> Vec<Value> {
        self.get_operation().deref(ctx).operands().collect()
    }
}

#[op_interface_impl]
impl SideEffects for CudaTextOp {
    fn has_side_effects(&self, _ctx: &Context) -> bool {
        true
    }
}

// A buffer whose pointer is written through is no `const` one in C++, and none that CubeCL thinks untouched.
#[allow(clippy::unwrap_used)]
#[op_interface_impl]
impl MemoryEffectsOp for CudaTextOp {
    fn memory_effects(&self, ctx: &Context) -> Vec<MemoryEffect> {
        let written = self.get_attr_advect_cuda_text_written(ctx).unwrap().0;
        let pointers = self.operands(ctx).into_iter().enumerate();
        let pointers = pointers.filter(|(_, v)| v.get_type(ctx).deref(ctx).is::<PointerType>());
        pointers.map(|(i, v)| if i < written { MemoryEffect::Write(v) } else { MemoryEffect::Read(v) }).collect()
    }
}

#[allow(clippy::unwrap_used)]
#[op_interface_impl]
impl RequiresIncludesOp<Cuda> for CudaTextOp {
    fn includes(&self, ctx: &Context) -> Vec<String> {
        let includes = self.get_attr_advect_cuda_text_includes(ctx).unwrap();
        includes.as_str().split_whitespace().map(Into::into).collect()
    }
}

#[allow(clippy::unwrap_used)]
#[op_interface_impl]
impl OpToCPP<Cuda> for CudaTextOp {
    fn to_cpp(&self, ctx: &Context) -> String {
        let text = self.get_attr_advect_cuda_text_text(ctx).unwrap();
        let operands = self.operands(ctx);
        let names = operands.iter().enumerate().map(|(i, v)| (format!("{{{i}}}"), v.name(ctx).to_string()));
        let mut text = String::from(text.as_str());
        for (place, name) in names {
            text = text.replace(&place, &name);
        }
        text + "\n"
    }
}

/// The pointer of a slice: of a buffer, or of shared memory.
pub(super) fn pointer(scope: &Scope, slice: &impl HasValue) -> Value {
    scope.extract_field(slice.value(scope), SliceMetadata::LIST)
}

/// Text where the kernel is.
pub(super) fn insert(scope: &Scope, text: String, includes: &str, written: &[Value], read: &[Value]) {
    scope.register(&CudaTextOp::new(scope.ctx_mut(), text, includes, written, read));
}

/// The words that all texts have, and these, filled in.
pub(super) fn filled(text: &str, kind: &str, words: &[(&str, String)]) -> String {
    let up = match kind {
        "bf16" => r#"asm("{ .reg .b16 z; mov.b16 z, 0; mov.b32 %0, {z, %1}; }" : "=f"(y) : "h"(x));"#,
        _ => r#"asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x));"#,
    };
    let text = text.replace("$CVT", &format!("cvt.rn.{kind}x2.f32")).replace("$UP", up);
    words.iter().fold(text, |text, (word, by)| text.replace(word, by))
}

/// `d += a b` for 64 rows and so many columns, over 16 numbers, from shared memory: `da` and `db` describe where. Without `keep` d is zero before.
pub(super) fn multiply(columns: usize, kind: &str, left_turned: &str, right_turned: &str) -> String {
    let count = columns / 2;
    let (places, sums) = (places(count), sums(count));
    let [a, b, keep] = [count, count + 1, count + 2];
    format!(
        r#"asm volatile("{{ .reg .pred p; setp.ne.b32 p, %{keep}, 0; wgmma.mma_async.sync.aligned.m64n{columns}k16.f32.{kind}.{kind} {{{places}}}, %{a}, %{b}, p, 1, 1, {left_turned}, {right_turned}; }}" : {sums} : "l"(da), "l"(db), "r"(keep));"#
    )
}

/// The same with the left matrix in the registers `a0` to `a3`.
pub(super) fn multiply_registers(columns: usize, kind: &str) -> String {
    let count = columns / 2;
    let (places, sums) = (places(count), sums(count));
    let [a, b, c, d, right, keep] = [0, 1, 2, 3, 4, 5].map(|i| count + i);
    format!(
        r#"asm volatile("{{ .reg .pred p; setp.ne.b32 p, %{keep}, 0; wgmma.mma_async.sync.aligned.m64n{columns}k16.f32.{kind}.{kind} {{{places}}}, {{%{a}, %{b}, %{c}, %{d}}}, %{right}, p, 1, 1, 1; }}" : {sums} : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "l"(db), "r"(keep));"#
    )
}

fn places(count: usize) -> String {
    (0..count).map(|i| format!("%{i}")).collect::<Vec<_>>().join(", ")
}

fn sums(count: usize) -> String {
    (0..count).map(|i| format!(r#""+f"(d[{i}])"#)).collect::<Vec<_>>().join(", ")
}
