//! What a client would rather have: `Accept` and `Accept-Encoding` with their weights (RFC 9110 §12.4.2, §12.5).

use axum::http::{HeaderMap, HeaderName, header};

/// The weight of a name that no list names, in thousandths: not wanted.
const NOT_WANTED: u16 = 0;
/// The weight without a word of it, in thousandths.
const WANTED: u16 = 1_000;

/// Elements of a header's lists with their weights in thousandths. What cannot be read as a weight is none.
fn weighted<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = (&'h str, u16)> {
    let lists = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).filter_map(|element| {
        let mut parts = element.split(';');
        let name = parts.next()?.trim();
        let weight = parts.find_map(|part| {
            let (name, value) = part.split_once('=')?;
            name.trim().eq_ignore_ascii_case("q").then(|| weight(value.trim()))
        });
        (!name.is_empty()).then_some((name, weight.unwrap_or(WANTED)))
    })
}

/// `0`, `1`, or up to three digits behind the point.
fn weight(text: &str) -> u16 {
    text.parse::<f32>().ok().filter(|weight| (0.0..=1.0).contains(weight)).map_or(NOT_WANTED, |weight| {
        // In range, so the cast only cuts.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 1000")]
        let thousandths = (weight * 1_000.0).round() as u16;
        thousandths
    })
}

/// The best of what is offered by `Accept`, the first among equals; `None` when nothing is acceptable. Everything is, where
/// nothing is said. Parameters but the weight are not looked at.
pub(super) fn media_type<T: Copy>(headers: &HeaderMap, offered: &[(&str, T)]) -> Option<T> {
    if !headers.contains_key(header::ACCEPT) {
        return offered.first().map(|(_, this)| *this);
    }
    let of = |media_type: &str| {
        let fits = |range: &str| match range.split_once('/') {
            _ if range.eq_ignore_ascii_case(media_type) => 3,
            Some(("*", "*")) => 1,
            Some((kind, "*"))
                if media_type.split('/').next().is_some_and(|own| own.eq_ignore_ascii_case(kind)) =>
            {
                2
            }
            _ => 0,
        };
        // The most precise range decides (§12.5.1).
        let ranges = weighted(headers, &header::ACCEPT).map(|(range, weight)| (fits(range), weight));
        ranges
            .filter(|(fits, _)| *fits > 0)
            .max_by_key(|(fits, _)| *fits)
            .map_or(NOT_WANTED, |(_, weight)| weight)
    };
    heaviest(offered.iter().map(|(name, this)| (of(name), *this))).map(|(_, this)| this)
}

/// The codings that a body may have, the better packed one first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    /// RFC 8878.
    Zstd,
    /// RFC 1952.
    Gzip,
}

/// How a client would have a body, by `Accept-Encoding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// As it is: nothing else was asked for, or nothing else that is known here.
    Plain,
    /// Packed, or as it is.
    Packed(Coding),
    /// Packed and nothing else: `identity` was refused.
    Only(Coding),
}

/// What `Accept-Encoding` asks for (RFC 9110 §12.5.3). A coding that is not named is not wanted, but for `identity`, which is
/// unless it, or all that is not named, is refused.
pub(super) fn coding(headers: &HeaderMap) -> Wish {
    if !headers.contains_key(header::ACCEPT_ENCODING) {
        return Wish::Plain;
    }
    let [mut zstd, mut gzip, mut identity, mut rest] = [None; 4];
    for (name, weight) in weighted(headers, &header::ACCEPT_ENCODING) {
        let of = if name.eq_ignore_ascii_case("zstd") {
            &mut zstd
        } else if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") {
            &mut gzip
        } else if name.eq_ignore_ascii_case("identity") {
            &mut identity
        } else if name == "*" {
            &mut rest
        } else {
            continue;
        };
        *of = Some(weight);
    }
    let of = |named: Option<u16>| named.or(rest).unwrap_or(NOT_WANTED);
    let Some((weight, coding)) = heaviest([(of(zstd), Coding::Zstd), (of(gzip), Coding::Gzip)].into_iter())
    else {
        return Wish::Plain;
    };
    match identity.or(rest.filter(|weight| *weight == NOT_WANTED)) {
        Some(NOT_WANTED) => Wish::Only(coding),
        Some(plain) if plain > weight => Wish::Plain,
        _ => Wish::Packed(coding),
    }
}

/// The heaviest, the first among equals.
fn heaviest<T>(weighed: impl Iterator<Item = (u16, T)>) -> Option<(u16, T)> {
    let mut best: Option<(u16, T)> = None;
    for (weight, this) in weighed.filter(|(weight, _)| *weight > NOT_WANTED) {
        if best.as_ref().is_none_or(|(other, _)| weight > *other) {
            best = Some((weight, this));
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn codings_are_chosen_by_weight_and_identity_is_only_refused_by_name() {
        use Coding::{Gzip, Zstd};
        use Wish::{Only, Packed, Plain};
        for (accept, expected) in [
            ("gzip", Packed(Gzip)),
            ("gzip, deflate, br, zstd", Packed(Zstd)),
            ("gzip;q=1.0, zstd;q=0.9", Packed(Gzip)),
            ("GZIP;Q=0.3", Packed(Gzip)),
            ("x-gzip", Packed(Gzip)),
            ("gzip;q=0.5, identity", Plain),
            ("gzip;q=0.5, identity;q=0.5", Packed(Gzip)),
            ("gzip;q=0", Plain),
            ("gzip;q=0, *", Packed(Zstd)),
            ("*", Packed(Zstd)),
            ("*;q=0", Plain),
            ("*;q=0, gzip", Only(Gzip)),
            ("gzip, identity;q=0", Only(Gzip)),
            ("identity;q=0", Plain),
            ("br", Plain),
            ("", Plain),
            ("gzip;q=nonsense", Plain),
            (",,;q=1, gzip ; q=0.8 ,", Packed(Gzip)),
        ] {
            let headers =
                HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_str(accept).unwrap())]);
            assert_eq!(coding(&headers), expected, "{accept:?}");
        }
        assert_eq!(coding(&HeaderMap::new()), Plain);
        let mut two = HeaderMap::new();
        for line in ["gzip;q=0.1", "zstd;q=0.2"] {
            two.append(header::ACCEPT_ENCODING, HeaderValue::from_static(line));
        }
        assert_eq!(coding(&two), Packed(Zstd));
    }

    fn accepting(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn the_heaviest_wins_and_the_most_precise_range_decides() {
        let offered = [("text/plain", 'p'), ("application/openmetrics-text", 'o')];
        for (accept, expected) in [
            ("*/*", Some('p')),
            ("text/*;q=0.5, application/*", Some('o')),
            // What Prometheus sends.
            (
                "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                Some('o'),
            ),
            ("text/plain;version=0.0.4;q=0.6,*/*;q=0.5", Some('p')),
            ("application/openmetrics-text;q=0, */*", Some('p')),
            ("text/plain; Q=0.001 , application/openmetrics-text;q=0", Some('p')),
            ("text/html", None),
            ("text/plain;q=7", None),
            ("", None),
        ] {
            assert_eq!(media_type(&accepting(accept), &offered), expected, "{accept}");
        }
        assert_eq!(media_type(&HeaderMap::new(), &offered), Some('p'));
    }
}
