use std::ops::Deref;

/// A borrowed network, or the rows selected from one.
#[derive(Debug, Clone)]
pub(crate) enum Held<'a, F> {
    Borrowed(&'a F),
    Owned(F),
}

impl<F> Deref for Held<'_, F> {
    type Target = F;

    fn deref(&self) -> &F {
        match self {
            Self::Borrowed(field) => field,
            Self::Owned(field) => field,
        }
    }
}
