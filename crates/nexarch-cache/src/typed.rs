//! Values of a type, over the bytes: serde and `postcard`, a compact format that only reads data.

use crate::bounded;
use crate::cache::Cache;
use crate::envelope::Codec;
use crate::error::{BoxError, Error};
use crate::fence::Fence;
use crate::key::Scope;
use crate::outcome::Answer;
use crate::read::{Computed, Read, Shape};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::marker::PhantomData;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A value and the answer that it was read from.
#[derive(Clone, Debug)]
pub struct Typed<T> {
    /// The value.
    pub value: T,
    /// Where it came from, its age and version. The body is the value as it is stored.
    pub answer: Answer,
}

impl Cache {
    /// As [`Cache::get_or_compute`], for values of a type. Each read, also a hit, decodes the value once.
    ///
    /// What an earlier version of a program left in a shared tier is read only when the operation's schema and the name
    /// and size of `T` are the same and the bytes decode; that finds most changes of a type, but two fields of one type
    /// that changed places it does not. So change [`Operation::with_schema`](crate::Operation::with_schema) with the type.
    /// Types that serde does not write as they are (`skip_serializing_if`, `flatten`, `untagged`) do not decode, nor do values
    /// that nest deeper than 128 levels: [`Error::Decode`].
    ///
    /// ```
    /// # use nexarch_cache::{Cache, Computed, LocalAuthority, Operation, Read, Scope};
    /// # use std::{sync::Arc, time::Duration};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    /// struct Totals {
    ///     orders: u64,
    /// }
    ///
    /// let operation = Operation::new("totals", Duration::from_secs(60)).with_schema("totals 1");
    /// let cache = Cache::builder(Arc::new(LocalAuthority::new())).operations([operation]).build(Default::default())?;
    /// let read = Read::new(cache.operation("totals")?, "day=monday");
    /// let compute = |_fence| async { Ok(Computed::of(Totals { orders: 3 })) };
    /// let found = cache.get_or_compute_typed(&Scope::new("acme")?, read, compute).await?;
    /// assert_eq!(found.value, Totals { orders: 3 });
    /// # Ok(())
    /// # }
    /// ```
    pub async fn get_or_compute_typed<T, F, Fut>(
        &self,
        scope: &Scope,
        read: Read<'_>,
        compute: F,
    ) -> Result<Typed<T>, Error>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
        F: FnOnce(Fence) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Computed<T>, BoxError>> + Send + 'static,
    {
        let encoded = move |fence| {
            let computed = compute(fence);
            async move {
                let Computed { body, data_version, negative, took } = computed.await?;
                let body = postcard::to_stdvec(&body)?.into();
                Ok(Computed { body, data_version, negative, took })
            }
        };
        let of_type = xxh3_64_with_seed(std::any::type_name::<T>().as_bytes(), size_of::<T>() as u64);
        let read = Read { shape: &Of::<T>::SHAPE, of_type, ..read };
        let answer = self.get_or_compute(scope, read, encoded).await?;
        let value = bounded::from_bytes(answer.body()).map_err(Error::Decode)?;
        Ok(Typed { value, answer })
    }
}

/// The shape of a type, made once by the compiler: a read carries one pointer.
struct Of<T>(PhantomData<T>);

impl<T: DeserializeOwned> Of<T> {
    const SHAPE: Shape =
        Shape { codec: Codec::Postcard, decodes: |body| bounded::from_bytes::<T>(body).is_ok() };
}
