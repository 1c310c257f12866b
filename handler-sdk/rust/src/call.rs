//! From the contract's call to the author's function and back.

use serde::Deserialize;

use crate::{Delivery, Event, Failure, Json, Output, data, output};

/// A handler: what the host calls, once per attempt. `#[handler]` implements it.
pub trait Handler {
    /// Handles one event.
    ///
    /// # Errors
    /// The failure that the function returned, or a rejection where an argument
    /// could not be made from the event.
    fn handle(event: &Event, delivery: &Delivery) -> Result<Vec<Output>, Failure>;
}

/// What an argument of a handler can be.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument of a handler",
    label = "not something that a call provides",
    note = "an argument is `Json<T>` with `T: Deserialize`, `Option<Json<T>>`, `&Event` or `&Delivery`"
)]
pub trait FromCall<'c>: Sized {
    /// Makes the argument.
    ///
    /// # Errors
    /// The event does not have what the argument needs.
    fn from_call(event: &'c Event, delivery: &'c Delivery) -> Result<Self, Failure>;
}

impl<'c> FromCall<'c> for &'c Event {
    #[inline]
    fn from_call(event: &'c Event, _: &'c Delivery) -> Result<Self, Failure> {
        Ok(event)
    }
}

impl<'c> FromCall<'c> for &'c Delivery {
    #[inline]
    fn from_call(_: &'c Event, delivery: &'c Delivery) -> Result<Self, Failure> {
        Ok(delivery)
    }
}

impl<'c, T: Deserialize<'c>> FromCall<'c> for Json<T> {
    #[inline]
    fn from_call(event: &'c Event, _: &'c Delivery) -> Result<Self, Failure> {
        Ok(Json(data::parse(event)?))
    }
}

impl<'c, T: Deserialize<'c>> FromCall<'c> for Option<Json<T>> {
    #[inline]
    fn from_call(event: &'c Event, _: &'c Delivery) -> Result<Self, Failure> {
        match event.data {
            None => Ok(None),
            Some(_) => Ok(Some(Json(data::parse(event)?))),
        }
    }
}

/// What a handler can return.
#[diagnostic::on_unimplemented(
    message = "a handler cannot return `{Self}`",
    label = "not something that a handler returns",
    note = "a handler returns `()`, `Output`, `Option<Output>`, `Vec<Output>` or `[Output; N]`, or `Result<one of them, Failure>`"
)]
pub trait IntoOutcome {
    /// The outputs, or the failure.
    ///
    /// # Errors
    /// The failure that the handler returned.
    fn into_outcome(self) -> Result<Vec<Output>, Failure>;
}

impl IntoOutcome for () {
    #[inline]
    fn into_outcome(self) -> Result<Vec<Output>, Failure> {
        Ok(Vec::new())
    }
}

impl IntoOutcome for Output {
    #[inline]
    fn into_outcome(self) -> Result<Vec<Output>, Failure> {
        Ok(vec![self])
    }
}

impl IntoOutcome for Option<Output> {
    #[inline]
    fn into_outcome(self) -> Result<Vec<Output>, Failure> {
        Ok(self.into_iter().collect())
    }
}

impl IntoOutcome for Vec<Output> {
    #[inline]
    fn into_outcome(self) -> Result<Vec<Output>, Failure> {
        Ok(self)
    }
}

impl<const N: usize> IntoOutcome for [Output; N] {
    #[inline]
    fn into_outcome(self) -> Result<Vec<Output>, Failure> {
        Ok(self.into())
    }
}

impl<T: IntoOutcome> IntoOutcome for Result<T, Failure> {
    #[inline]
    fn into_outcome(self) -> Result<Vec<Output>, Failure> {
        self.and_then(T::into_outcome)
    }
}

/// What the host is told: the function's result, with the defaults filled in.
#[inline]
pub fn outcome<R: IntoOutcome>(result: R, delivery: &Delivery) -> Result<Vec<Output>, Failure> {
    let mut outputs = result.into_outcome()?;
    output::fill_source(&mut outputs, &delivery.route);
    Ok(outputs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_result_becomes_a_list() {
        let one = || Output::event("t");
        assert_eq!(().into_outcome(), Ok(vec![]));
        assert_eq!(one().into_outcome(), Ok(vec![one()]));
        assert_eq!(None.into_outcome(), Ok(vec![]));
        assert_eq!(Some(one()).into_outcome(), Ok(vec![one()]));
        assert_eq!([one(), one()].into_outcome(), Ok(vec![one(), one()]));
        assert_eq!(Ok(vec![one()]).into_outcome(), Ok(vec![one()]));
        assert_eq!(Err::<(), _>(Failure::reject("no")).into_outcome(), Err(Failure::reject("no")));
    }
}
