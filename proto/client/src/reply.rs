//! Reading the answer to a batch, a `BatchReply`.

use alloc::vec;
use alloc::vec::Vec;

use wakeline_proto::Reason;

use crate::fate::Fate;
use crate::wire::{Field, Reader};

/// The fates by a reply to a batch of `events`; `None` if it can't be the answer to it.
pub(crate) fn fates(body: &[u8], events: usize) -> Option<Vec<Fate>> {
    let mut fates = vec![Fate::Accepted; events];
    let mut accepted = 0;
    let mut reply = Reader::new(body);
    while !reply.is_empty() {
        match reply.field()? {
            (1, Field::Number(number)) => accepted = number as u32,
            (2, Field::Bytes(bytes)) => {
                let (index, reason) = rejection(bytes)?;
                *fates.get_mut(index)? = Fate::Rejected(reason);
            }
            (1 | 2, _) => return None,
            _ => {}
        }
    }
    let counted = fates.iter().filter(|fate| **fate == Fate::Accepted).count();
    (accepted as usize == counted).then_some(fates)
}

/// A `BatchRejection`: an event's index, and the reason if it is known.
fn rejection(bytes: &[u8]) -> Option<(usize, Option<Reason>)> {
    let (mut index, mut reason) = (0, None);
    let mut rejection = Reader::new(bytes);
    while !rejection.is_empty() {
        match rejection.field()? {
            (1, Field::Number(number)) => index = number as u32 as usize,
            // A browser's shell reads names itself, where anybody wants to see them: here they would be a table of texts.
            (2 | 3, Field::Bytes(_)) if cfg!(target_arch = "wasm32") => {}
            (2, Field::Bytes(name)) => reason = Reason::from_name(str::from_utf8(name).ok()?),
            (3, Field::Bytes(detail)) => {
                str::from_utf8(detail).ok()?;
            }
            (1..=3, _) => return None,
            _ => {}
        }
    }
    Some((index, reason))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;
    use wakeline_proto::Reason;
    use wakeline_proto::v1::{BatchRejection, BatchReply};

    use super::fates;
    use crate::fate::Fate;

    /// By prost.
    fn expected(body: &[u8], events: usize) -> Option<Vec<Fate>> {
        let reply = BatchReply::decode(body).ok()?;
        let mut fates = vec![Fate::Accepted; events];
        for rejection in &reply.rejected {
            *fates.get_mut(rejection.index as usize)? =
                Fate::Rejected(Reason::from_name(&rejection.reason));
        }
        let accepted = fates.iter().filter(|fate| **fate == Fate::Accepted).count();
        (reply.accepted as usize == accepted).then_some(fates)
    }

    proptest! {
        #[test]
        fn replies_are_read_as_prost_reads_them(
            rejected in prop::collection::vec((0..12_u32, 0..12_usize, "[a-zä]{0,3}"), 0..6),
            accepted in 0..12_u32,
            events in 0..12_usize,
            settings in "[a-z{}]{0,5}",
            more in prop::collection::vec(any::<u8>(), 0..4),
        ) {
            let rejected = rejected.into_iter().map(|(index, reason, detail)| BatchRejection {
                index,
                reason: Reason::ALL.get(reason).map_or("new", |reason| reason.as_str()).to_owned(),
                detail,
            });
            let mut body = BatchReply { accepted, rejected: rejected.collect(), settings }.encode_to_vec();
            prop_assert_eq!(fates(&body, events), expected(&body, events));
            // Whatever else comes: nothing is read that prost would not read.
            body.extend(more);
            let read = fates(&body, events);
            prop_assert!(read.is_none() || read == expected(&body, events));
        }
    }
}
