//! Matrix units for f32 where there are none: nothing pays. What is not asked for then stays the same for all callers.
#![allow(dead_code)]

pub(super) const STEP: usize = 32;

pub(super) struct Operand<'a> {
    pub values: &'a [f32],
    pub line: usize,
    pub deep: usize,
    pub page: Page,
}

pub(super) struct Page {
    pub steps: usize,
    pub floats: usize,
}

impl Page {
    pub(super) const ONE: Self = Self { steps: usize::MAX, floats: 0 };
}

pub(super) fn pays(_: [usize; 3]) -> bool {
    false
}

pub(super) fn many_pay(_: [usize; 3]) -> bool {
    false
}

/// # Safety
///
/// It does nothing.
pub(super) unsafe fn product(_: [usize; 3], _: Operand<'_>, _: Operand<'_>, _: *mut f32, _: Option<&[f32]>) -> bool {
    false
}

/// # Safety
///
/// It does nothing.
pub(super) unsafe fn products(_: [usize; 3], _: Operand<'_>, _: &[f32], _: *mut f32, _: &[f32]) -> bool {
    false
}

pub(super) mod small {
    pub(in super::super) const ROWS: usize = 32;

    pub(in super::super) fn pays(_: [usize; 3]) -> bool {
        false
    }

    pub(in super::super) struct Weight(());

    impl Weight {
        pub(in super::super) fn new(_: &[f32], _: [usize; 2]) -> Option<Self> {
            None
        }
    }

    pub(in super::super) struct Units(());

    impl Units {
        /// # Safety
        ///
        /// It does nothing.
        pub(in super::super) unsafe fn new(_: usize) -> Self {
            Self(())
        }

        pub(in super::super) fn keep_awake(&mut self) {}

        /// # Safety
        ///
        /// It does nothing.
        pub(in super::super) unsafe fn layer(
            &mut self,
            _: usize,
            _: *const f32,
            _: &Weight,
            _: *const f32,
            _: *mut f32,
        ) -> bool {
            false
        }
    }
}
