//! Answers as they come off a socket, in RESP2 or RESP3: whole ones are taken out, what is not whole yet waits.
//!
//! Whoever is at the other end may send anything. No length is believed before its bytes are there, a value that nobody
//! wants is dropped as it arrives, and what is no answer ends the connection.

use Unreadable::{Malformed, TooLong};
use redis::{RedisError, Value, parse_redis_value};

/// The longest answer that is taken whole, in bytes.
pub(crate) const MAX_REPLY: usize = 64 << 20;
/// The same where messages come. Ours have some 100 bytes and never more than 17 KiB, notices of Azure's maintenance
/// under 1 KiB, the answer to `HELLO` some for each module of the server.
pub(crate) const MAX_MESSAGE: usize = 64 << 10;
/// Parts of an answer, nested ones counted.
const MAX_ITEMS: u64 = 1 << 20;
/// The longest line, in bytes: a text, a number, an error.
const MAX_LINE: usize = 64 << 10;
/// Room for one look at the socket, in bytes, to begin with; doubled as long as looks fill it.
const LEAST_ROOM: usize = 16 << 10;
/// Above this, more room saves no calls that could be noticed; it is also what is kept when a large answer has gone.
const MOST_ROOM: usize = 256 << 10;

/// Why nothing that comes after can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// What was sent is no answer.
    Malformed,
    /// It is longer than any that is wanted, or says that it will be.
    TooLong,
}

/// One answer.
#[derive(Debug, PartialEq)]
pub(crate) enum Reply {
    Value(Value),
    /// A value above the limit, dropped on its way.
    TooLarge,
}

/// Bytes that arrived and were not taken yet.
#[derive(Debug)]
pub(crate) struct Inbox {
    /// Never shorter than its room; what is outside of `begin..end` is garbage.
    bytes: Vec<u8>,
    begin: usize,
    end: usize,
    room: usize,
    /// How far the answer at the front was looked through.
    seen: Seen,
    /// Bytes of a value that is dropped which did not arrive yet.
    drop: usize,
    /// The longest answer that is taken whole, in bytes.
    limit: usize,
    /// Whether a value that nobody wants is dropped and the next answer awaited, rather than the end of it all.
    drops: bool,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    bytes: usize,
    /// Parts that the answer still has to have.
    items: u64,
}

impl Seen {
    const NOTHING: Self = Self { bytes: 0, items: 1 };
}

impl Inbox {
    pub(crate) fn new() -> Self {
        Self {
            bytes: Vec::new(),
            begin: 0,
            end: 0,
            room: LEAST_ROOM,
            seen: Seen::NOTHING,
            drop: 0,
            limit: MAX_REPLY,
            drops: true,
        }
    }

    /// For a connection on which messages come: nothing on it is long, and what is ends it.
    pub(crate) fn of_messages() -> Self {
        Self { limit: MAX_MESSAGE, drops: false, ..Self::new() }
    }

    /// Where the next bytes go.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        if self.begin == self.end {
            (self.begin, self.end) = (0, 0);
            if self.bytes.len() > 2 * MOST_ROOM {
                self.bytes = Vec::new();
            }
        }
        if self.bytes.len() - self.end < self.room / 2 {
            self.bytes.copy_within(self.begin..self.end, 0);
            (self.begin, self.end) = (0, self.end - self.begin);
            if self.bytes.len() - self.end < self.room / 2 {
                // Doubled, so that what is moved for a long answer stays in proportion to it.
                self.bytes.resize((self.bytes.len() * 2).max(self.end + self.room), 0);
            }
        }
        &mut self.bytes[self.end..]
    }

    /// So many bytes came into the room.
    pub(crate) fn arrived(&mut self, count: usize) {
        self.end += count;
        if self.end == self.bytes.len() {
            self.room = (self.room * 2).min(MOST_ROOM);
        }
    }

    /// The next answer, if it is there; a single value of more than `most` bytes is dropped.
    pub(crate) fn next(&mut self, most: usize) -> Result<Option<Reply>, Unreadable> {
        if self.drop > 0 {
            return Ok(self.dropped());
        }
        let waiting = &self.bytes[self.begin..self.end];
        if self.seen.bytes > 0 || !matches!(waiting.first(), Some(b'$' | b'+' | b':' | b'_')) {
            return self.any();
        }
        let Some(line) = line(waiting)? else { return Ok(None) };
        let after = line.len() + 3;
        let value = match waiting[0] {
            b'$' => {
                let Ok(length) = usize::try_from(number(line)?) else {
                    return Ok(Some(self.taken(after, Value::Nil)));
                };
                if !self.drops && length > self.limit {
                    return Err(TooLong);
                }
                if length > most {
                    self.begin += after;
                    self.drop = length.checked_add(2).ok_or(Malformed)?;
                    return Ok(self.dropped());
                }
                let whole = after + length + 2;
                if waiting.len() < whole {
                    return Ok(None);
                }
                if waiting[whole - 2..whole] != *b"\r\n" {
                    return Err(Malformed);
                }
                let value = Value::BulkString(waiting[after..whole - 2].to_vec());
                return Ok(Some(self.taken(whole, value)));
            }
            b':' => Value::Int(number(line)?),
            b'_' => Value::Nil,
            _ if line == b"OK" => Value::Okay,
            _ => Value::SimpleString(String::from_utf8(line.to_vec()).map_err(|_| Malformed)?),
        };
        Ok(Some(self.taken(after, value)))
    }

    fn taken(&mut self, bytes: usize, value: Value) -> Reply {
        self.begin += bytes;
        Reply::Value(value)
    }

    fn dropped(&mut self) -> Option<Reply> {
        let here = self.drop.min(self.end - self.begin);
        self.begin += here;
        self.drop -= here;
        (self.drop == 0).then_some(Reply::TooLarge)
    }

    /// An answer of any kind, read by the client library once it is whole.
    fn any(&mut self) -> Result<Option<Reply>, Unreadable> {
        let waiting = &self.bytes[self.begin..self.end];
        if !look(waiting, &mut self.seen, self.limit)? {
            return if waiting.len() > self.limit { Err(TooLong) } else { Ok(None) };
        }
        let whole = std::mem::replace(&mut self.seen, Seen::NOTHING).bytes;
        let value = parse_redis_value(&waiting[..whole]).map_err(|_: RedisError| Malformed)?;
        Ok(Some(self.taken(whole, value)))
    }
}

/// Goes on looking for the end of the first answer in `bytes`, of at most `limit`; says whether it is there.
fn look(bytes: &[u8], seen: &mut Seen, limit: usize) -> Result<bool, Unreadable> {
    while seen.items > 0 {
        let rest = &bytes[seen.bytes..];
        // Told by the first byte: a connection that is out of step ends at once, not when more has come.
        if rest.first().is_some_and(|kind| !b"+-:_,#($!=*~>%|".contains(kind)) {
            return Err(Malformed);
        }
        let Some(line) = line(rest)? else { return Ok(false) };
        let after = line.len() + 3;
        let length = || number(line).map(|length| u64::try_from(length).unwrap_or(0));
        let more = match rest[0] {
            b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(' => 0,
            b'$' | b'!' | b'=' if number(line)? < 0 => 0,
            b'$' | b'!' | b'=' => {
                let length = usize::try_from(length()?).map_err(|_| Malformed)?;
                if length > limit {
                    return Err(TooLong);
                }
                if rest.len() < after + length + 2 {
                    return Ok(false);
                }
                seen.bytes += length + 2;
                0
            }
            b'*' | b'~' | b'>' => length()?,
            b'%' => length()?.saturating_mul(2),
            // Attributes, and then what they are of.
            b'|' => length()?.saturating_mul(2).saturating_add(1),
            _ => return Err(Malformed),
        };
        seen.bytes += after;
        seen.items = (seen.items - 1).saturating_add(more);
        // Every part has a byte at least.
        if seen.items > MAX_ITEMS.min(limit as u64) || seen.bytes > limit {
            return Err(TooLong);
        }
    }
    Ok(true)
}

/// The first line without its first byte and its end, if it is whole.
fn line(bytes: &[u8]) -> Result<Option<&[u8]>, Unreadable> {
    let Some(end) = bytes.iter().position(|&byte| byte == b'\r') else {
        return if bytes.len() > MAX_LINE { Err(TooLong) } else { Ok(None) };
    };
    match bytes.get(end + 1) {
        None => Ok(None),
        Some(b'\n') if (1..=MAX_LINE).contains(&end) => Ok(Some(&bytes[1..end])),
        Some(_) => Err(Malformed),
    }
}

fn number(line: &[u8]) -> Result<i64, Unreadable> {
    std::str::from_utf8(line).ok().and_then(|text| text.parse().ok()).ok_or(Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn put(inbox: &mut Inbox, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = inbox.room();
            let count = room.len().min(bytes.len());
            room[..count].copy_from_slice(&bytes[..count]);
            inbox.arrived(count);
            bytes = &bytes[count..];
        }
    }

    fn all(inbox: &mut Inbox, most: usize) -> Result<Vec<Reply>, Unreadable> {
        let mut replies = Vec::new();
        while let Some(reply) = inbox.next(most)? {
            replies.push(reply);
        }
        Ok(replies)
    }

    fn read(bytes: &[u8]) -> Result<Vec<Reply>, Unreadable> {
        let mut inbox = Inbox::new();
        put(&mut inbox, bytes);
        all(&mut inbox, MAX_REPLY)
    }

    /// Answers as servers write them, of every kind and nested.
    fn answer() -> impl Strategy<Value = Vec<u8>> {
        let text = "[a-zA-Z0-9 :.-]{0,20}";
        let blob = |kind: &'static str| {
            prop::collection::vec(any::<u8>(), 0..200).prop_map(move |body| {
                [format!("{kind}{}\r\n", body.len()).as_bytes(), &body, b"\r\n"].concat()
            })
        };
        let leaf = prop_oneof![
            text.prop_map(|text| format!("+{text}\r\n").into_bytes()),
            text.prop_map(|text| format!("-ERR {text}\r\n").into_bytes()),
            any::<i64>().prop_map(|number| format!(":{number}\r\n").into_bytes()),
            Just(b"_\r\n".to_vec()),
            Just(b"$-1\r\n".to_vec()),
            Just(b"*-1\r\n".to_vec()),
            Just(b"#t\r\n".to_vec()),
            Just(b",1.5\r\n".to_vec()),
            Just(b"(123456789012345678901234567890\r\n".to_vec()),
            Just(b"=8\r\ntxt:text\r\n".to_vec()),
            blob("$"),
        ];
        leaf.prop_recursive(3, 32, 5, |inner| {
            let many = |kind: &'static str, by: usize| {
                prop::collection::vec(inner.clone(), 0..5 * by).prop_map(move |parts| {
                    let whole = parts.len() / by;
                    [format!("{kind}{whole}\r\n").into_bytes(), parts[..whole * by].concat()].concat()
                })
            };
            prop_oneof![many("*", 1), many("~", 1), many("%", 2)]
        })
    }

    proptest! {
        /// Wherever the bytes are torn, the answers are those that the client library reads from the whole.
        #[test]
        fn answers_are_the_same_however_they_arrive(
            answers in prop::collection::vec(answer(), 1..8),
            tears in prop::collection::vec(1usize..60, 1..40),
        ) {
            let mut inbox = Inbox::new();
            let mut replies = Vec::new();
            let bytes = answers.concat();
            let (mut rest, mut tears) = (&bytes[..], tears.into_iter().cycle());
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(tears.next().unwrap_or(1).min(rest.len()));
                put(&mut inbox, piece);
                replies.extend(all(&mut inbox, MAX_REPLY).unwrap());
                rest = after;
            }
            let expected: Vec<_> =
                answers.iter().map(|answer| Reply::Value(parse_redis_value(answer).unwrap())).collect();
            prop_assert_eq!(replies, expected);
            prop_assert_eq!(inbox.begin, inbox.end);
        }

        #[test]
        fn no_bytes_are_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), most in 0usize..100) {
            let mut inbox = Inbox::new();
            put(&mut inbox, &bytes);
            let _ = all(&mut inbox, most);
        }

        /// As above, of bytes that are nearly answers.
        #[test]
        fn no_broken_answer_is_a_panic(
            answer in answer(),
            breaks in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        ) {
            let mut bytes = answer;
            for (at, byte) in breaks {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            let _ = read(&bytes);
        }
    }

    #[test]
    fn a_value_above_the_limit_is_dropped_as_it_arrives_and_the_next_is_read() {
        let mut inbox = Inbox::new();
        put(&mut inbox, b"$300000\r\n");
        let mut replies = all(&mut inbox, 1000).unwrap();
        for _ in 0..300 {
            put(&mut inbox, &[7; 1000]);
            replies.extend(all(&mut inbox, 1000).unwrap());
            assert!(inbox.bytes.len() <= 4 * LEAST_ROOM, "{}", inbox.bytes.len());
        }
        put(&mut inbox, b"\r\n$1\r\na\r\n");
        replies.extend(all(&mut inbox, 1000).unwrap());
        assert_eq!(replies, [Reply::TooLarge, Reply::Value(Value::BulkString(b"a".to_vec()))]);
    }

    #[test]
    fn room_follows_what_comes_and_is_given_back() {
        let mut inbox = Inbox::new();
        put(&mut inbox, b"$8000000\r\n");
        put(&mut inbox, &vec![7; 8_000_000]);
        assert_eq!(inbox.next(MAX_REPLY), Ok(None));
        put(&mut inbox, b"\r\n");
        assert!(matches!(inbox.next(MAX_REPLY), Ok(Some(Reply::Value(Value::BulkString(_))))));
        assert!(inbox.room().len() <= MOST_ROOM);
    }

    #[test]
    fn what_is_no_answer_is_said_to_be_none() {
        for wrong in [
            &b"HTTP/1.1 400 Bad Request\r\n"[..],
            b"$x\r\n",
            b"$3\r\nabcde",
            b":1x\r\n",
            b"*99999999999\r\n",
            b"%9223372036854775807\r\n",
            b"*1\r\n$99999999999\r\n",
            b"+\rx",
            b"\r\n",
            b"+\xff\r\n",
            b"$9223372036854775807\r\n",
        ] {
            let limit = read(wrong);
            let open = wrong.starts_with(b"$92");
            assert!(limit.is_err() || (open && limit == Ok(vec![])), "{wrong:?}: {limit:?}");
        }
        assert_eq!(read(&vec![b'+'; MAX_LINE + 2]), Err(TooLong));
        assert_eq!(read(&b"*1\r\n".repeat(1000)), Ok(vec![]), "not whole yet");
        assert_eq!(read(&[&b"*1\r\n".repeat(1000)[..], b":1\r\n"].concat()), Err(Malformed), "too deep");
    }

    /// What a server may say where messages are awaited, and the longest of it that is read.
    #[test]
    fn where_messages_come_nothing_long_is_read() {
        let push = |body: usize| {
            let head = format!(">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n${body}\r\n");
            [head.as_bytes(), &vec![b'x'; body], b"\r\n"].concat()
        };
        let mut inbox = Inbox::of_messages();
        put(&mut inbox, &push(MAX_MESSAGE - 100).repeat(3));
        assert_eq!(all(&mut inbox, MAX_MESSAGE).unwrap().len(), 3);
        for (long, what) in [
            (&push(MAX_MESSAGE)[..], "a message"),
            (b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$500000000\r\n", "one that is announced"),
            (b"$500000000\r\n", "a value"),
            (b"$9000000000000000000\r\n", "a value that has no end"),
            (b">100000\r\n", "many parts"),
            (b"*3\r\n+a\r\n*100000\r\n", "many parts further in"),
        ] {
            let mut inbox = Inbox::of_messages();
            put(&mut inbox, long);
            assert_eq!(all(&mut inbox, usize::MAX), Err(TooLong), "{what}");
        }
    }

    #[test]
    fn however_long_a_message_goes_on_it_takes_no_room_to_speak_of() {
        let parts = [">60000\r\n".as_bytes(), &b"$1\r\nx\r\n".repeat(60_000)].concat();
        for endless in [&b"+"[..], b">3\r\n+", b"$", b"|", b"$1", &parts] {
            let mut inbox = Inbox::of_messages();
            put(&mut inbox, endless);
            let mut ended = all(&mut inbox, usize::MAX).is_err();
            for piece in 0..1000 {
                if ended {
                    break;
                }
                assert!(piece < 200, "{endless:?} is read for ever");
                let room = inbox.room();
                room.fill(b'1');
                let count = room.len();
                inbox.arrived(count);
                ended = all(&mut inbox, usize::MAX).is_err();
            }
            assert!(inbox.bytes.len() <= 1 << 20, "{}", inbox.bytes.len());
        }
    }
}
