//! What the streams of a connection share.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::{Limiter, Result};

/// A connection of the pipeline: its name, its limits, and whatever its streams share, such as a client with its pool.
pub struct Connection {
    name: String,
    limiter: Arc<dyn Limiter>,
    shared: Mutex<HashMap<(TypeId, String), Arc<dyn Any + Send + Sync>>>,
}

impl Connection {
    /// A connection with these limits.
    pub fn new(name: impl Into<String>, limiter: Arc<dyn Limiter>) -> Self {
        Self { name: name.into(), limiter, shared: Mutex::default() }
    }

    /// Its name in the pipeline.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its limits: ask before each request.
    pub fn limiter(&self) -> &Arc<dyn Limiter> {
        &self.limiter
    }

    /// A value that all streams of this connection share, made by the first who asks for this type under this key.
    ///
    /// # Errors
    /// What `make` returns.
    pub fn shared<T: Send + Sync + 'static>(
        &self,
        key: &str,
        make: impl FnOnce() -> Result<T>,
    ) -> Result<Arc<T>> {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = (TypeId::of::<T>(), key.to_owned());
        if let Some(known) = shared.get(&slot) {
            return Ok(known.clone().downcast().expect("the slot's key holds the type's id"));
        }
        let value = Arc::new(make()?);
        shared.insert(slot, value.clone());
        Ok(value)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("name", &self.name)
            .field("limiter", &self.limiter)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Error, Unlimited};

    #[test]
    fn what_a_connection_shares_is_made_once_for_each_key() {
        let connection = Connection::new("shop", Arc::new(Unlimited));
        let first = connection.shared("a", || Ok(1_u32)).unwrap();
        let again = connection.shared("a", || Ok(2_u32)).unwrap();
        let other = connection.shared("b", || Ok(3_u32)).unwrap();
        assert_eq!((*first, *again, *other), (1, 1, 3));
        assert!(connection.shared::<u32>("c", || Err(Error::data("no"))).is_err());
    }
}
