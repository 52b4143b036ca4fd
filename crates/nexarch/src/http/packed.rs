//! Bodies of cached reads, packed once and served many times. The validator of a body is weak and says nothing of its coding,
//! so it stays.

use bytes::Bytes;
use nexarch_cache::Answer;

use super::accept::{Coding, Wish};
use crate::{app::App, auth::Caller, operation::Op};

/// Bodies below this (bytes) fit into one packet anyway.
const MIN_BYTES: usize = 1_024;
/// Of ten parts of a body, a packed one has at most so many, or it is no gain.
const MOST_TENTHS: usize = 9;
/// Packed once and read often, so rather small than quick: 8 KiB take some 0.3 ms.
const GZIP_LEVEL: u32 = 6;
/// See [`GZIP_LEVEL`].
const ZSTD_LEVEL: i32 = 6;

type Pack = fn(&Bytes) -> Option<Bytes>;

impl Coding {
    /// Its name, and how it is made.
    fn form(self) -> (&'static str, Pack) {
        match self {
            Self::Zstd => ("zstd", zstd),
            Self::Gzip => ("gzip", gzip),
        }
    }
}

/// The packed body, if there is one yet and it is wanted, with the name of its coding.
pub(super) async fn body(
    app: &App,
    caller: &Caller,
    operation: Op,
    answer: &Answer,
    wish: Wish,
) -> Option<(Bytes, &'static str)> {
    let (coding, only) = match wish {
        Wish::Plain => return None,
        Wish::Packed(coding) => (coding, false),
        Wish::Only(coding) => (coding, true),
    };
    if answer.body().len() < MIN_BYTES && !only {
        return None;
    }
    let (name, make) = coding.form();
    let (scope, operation, which) = (&caller.scope, app.operations.get(operation), coding as usize);
    if only {
        // Who can do with nothing else may make the server pack at each request.
        let (cache, scope, answer) = (app.cache.clone(), scope.clone(), answer.clone());
        let work = async move { Ok(cache.variant_now(&scope, operation, &answer, which, make).await) };
        let packed = app.answer_in_turn(&caller.tenant, work).await.ok()?;
        return packed.map(|body| (body, name));
    }
    app.cache.variant(scope, operation, answer, which, make).map(|body| (body, name))
}

fn gzip(body: &Bytes) -> Option<Bytes> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(GZIP_LEVEL));
    encoder.write_all(body).ok()?;
    worth(body, encoder.finish().ok()?)
}

fn zstd(body: &Bytes) -> Option<Bytes> {
    worth(body, ::zstd::bulk::compress(body, ZSTD_LEVEL).ok()?)
}

fn worth(body: &Bytes, packed: Vec<u8>) -> Option<Bytes> {
    (packed.len() * 10 <= body.len() * MOST_TENTHS).then(|| packed.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_get_smaller_is_left_as_it_is() {
        let text = Bytes::from("{\"name\":\"cart\"},".repeat(100));
        // xorshift64*, Vigna 2016: looks like chance to both.
        let mut state = 1u64;
        let chance = |_| {
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes()[7]
        };
        let noise: Bytes = (0..2_000).map(chance).collect();
        for coding in [Coding::Zstd, Coding::Gzip] {
            let (name, pack) = coding.form();
            assert!(pack(&text).is_some_and(|packed| packed.len() * 5 < text.len()), "{name}");
            assert!(pack(&noise).is_none(), "{name}");
        }
    }
}
