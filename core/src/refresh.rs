//! Refresh: one use of a refresh token, decided.
//!
//! | presented generation | decision |
//! |---|---|
//! | the current one | **rotate**: the generation moves by one |
//! | the one before, within the grace time (or bound to its holder, at any time) | **the same answer again** |
//! | any older one | **theft**: the session ends |
//! | a newer one, authentic | history was lost: **adopt** it and go on |
//! | of a family that is closed | refused, without effect |
//!
//! The grace time is there because answers get lost and because tabs race. It is harmless: a repeat makes nothing new,
//! so there is never a second line of descent, and once the successor was presented the one before is simply old.
//! A careful thief of an unbound token can still use it until its owner does; whoever comes second is then noticed.

use std::time::Duration;

use crate::{
    audit::{Act, Event},
    change::{Change, Write},
    client::ClientId,
    family::{Binding, Family, Issued, Whence},
    handle::{FamilyNumber, Proven},
    id::KeyId,
    session::{Reason, Session},
    time::Time,
};

/// For how many generations in a row a stranger may repeat a refresh before it is theft.
const STRANGE_GENERATIONS_MAX: u8 = 2;

/// One presentation of a proven refresh token.
#[derive(Debug, Clone)]
pub struct Presented<'a> {
    /// The refresh token.
    pub handle: Proven,
    /// The client that presents it.
    pub client: &'a ClientId,
    /// What the client showed besides.
    pub shown: Binding,
    /// Where the request came from.
    pub whence: Whence,
    /// The handle key that is active now.
    pub key: KeyId,
    /// What the access token would say if the token is rotated.
    pub issued: Issued,
}

/// Why a refresh is refused. To the caller they are all `invalid_grant` (RFC 6749, section 5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The family was closed.
    #[error("the token family is closed")]
    Closed,
    /// It belongs to another client.
    #[error("the refresh token belongs to another client")]
    OtherClient,
    /// The holder did not show what it is bound to.
    #[error("the refresh token is bound and the proof is missing")]
    Unbound,
    /// An old generation came back: the session ends.
    #[error("an old refresh token came back")]
    Theft,
}

/// What was decided.
#[derive(Debug, Clone)]
pub struct Refresh {
    /// To be committed before anything is answered.
    pub change: Change,
    /// The session as it is after the change, and the family to answer for; or why not.
    pub answer: Result<(Session, FamilyNumber), Refused>,
}

/// Decides one use of a refresh token of a session that is in good [standing](Session::standing).
pub fn refresh(session: Session, presented: Presented<'_>, grace: Duration, now: Time) -> Refresh {
    let refuse = |refused| Refresh { change: Change::at(now), answer: Err(refused) };
    let name = presented.handle.name();
    let Some(family) = session.families.get(name.family) else { return refuse(Refused::Closed) };
    if family.client != *presented.client {
        return refuse(Refused::OtherClient);
    }
    if family.binding != Binding::None && family.binding != presented.shown {
        return refuse(Refused::Unbound);
    }
    let current = family.generation;
    if name.generation >= current {
        rotate(session, presented, now)
    } else if name.generation.next() == current && may_repeat(family, grace, now) {
        // The same answer has an access token of the same key: it is of no use to another.
        let same_key = family.issued.key == presented.issued.key;
        if same_key { repeat(session, &presented, now) } else { refuse(Refused::Unbound) }
    } else {
        theft(&session, now)
    }
}

fn may_repeat(family: &Family, grace: Duration, now: Time) -> bool {
    family.binding != Binding::None || family.age(now) <= grace
}

fn rotate(mut session: Session, presented: Presented<'_>, now: Time) -> Refresh {
    let name = presented.handle.name();
    let mut change = Change::at(now);
    let Some(family) = session.families.get_mut(name.family) else {
        return Refresh { change, answer: Err(Refused::Closed) };
    };
    let adopted = name.generation > family.generation;
    family.generation = name.generation.next();
    family.key = presented.key;
    family.issued = presented.issued;
    family.whence = presented.whence;
    session.seen_at = session.seen_at.max(now);
    if adopted {
        change.record(Event::of_session(Act::Adopted, &session));
    }
    change.write(Write::SaveSession(Box::new(session.clone())));
    Refresh { change, answer: Ok((session, name.family)) }
}

fn repeat(mut session: Session, presented: &Presented<'_>, now: Time) -> Refresh {
    let name = presented.handle.name();
    let mut change = Change::at(now);
    let strange = session
        .families
        .get_mut(name.family)
        .filter(|family| presented.whence.is_stranger_to(family.whence))
        .map(|family| family.strangers.count(family.generation));
    match strange {
        Some(generations) if generations > STRANGE_GENERATIONS_MAX => return theft(&session, now),
        Some(_) => change.write(Write::SaveSession(Box::new(session.clone()))),
        None => {}
    }
    Refresh { change, answer: Ok((session, name.family)) }
}

fn theft(session: &Session, now: Time) -> Refresh {
    Refresh { change: session.end(Reason::Theft, now), answer: Err(Refused::Theft) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand_chacha::{ChaCha12Rng, rand_core::SeedableRng};

    use super::*;
    use crate::{
        family::NewFamily,
        handle::{Generation, Handle, HandleKey, Kind, Name},
        oauth::jwk::Thumbprint,
        secret::{SecretBytes, SecretText},
        session::{Device, Lifetimes, Opening},
    };

    const GRACE: Duration = Duration::from_secs(10);
    const DAY: Duration = Duration::from_secs(86_400);
    const KEY: Thumbprint = Thumbprint::from_bytes([1; 32]);
    const BINDINGS: [Binding; 3] = [Binding::None, Binding::Client, Binding::Key(KEY)];

    fn whence(n: u8) -> Whence {
        Whence::new([10, n, 0, 1].into(), &format!("agent {n}"))
    }

    /// One session with one family, a clock, and every refresh token that was ever answered.
    struct World {
        key: HandleKey,
        client: ClientId,
        session: Option<Session>,
        answered: Vec<SecretText>,
        now: Time,
        binding: Binding,
        /// Which key the access token shall be bound to.
        bind_to: Option<Thumbprint>,
    }

    impl World {
        fn new(binding: Binding) -> Self {
            let key = HandleKey::new(KeyId::from_bytes([1; 16]), &SecretBytes::new([1; 32]));
            let client: ClientId = "app".parse().unwrap();
            let now = Time::from_secs(1_000_000);
            let device =
                Device { label: "".into(), user_agent: "".into(), address: [127, 0, 0, 1].into() };
            let opening = Opening { client: client.clone(), parent: None, device };
            let lifetimes = Lifetimes {
                visitor: DAY,
                idle: DAY,
                absolute: DAY,
                remembered_idle: DAY,
                remembered_absolute: DAY,
            };
            let mut rng = ChaCha12Rng::seed_from_u64(1);
            let mut session = Session::visitor(opening, key.id(), &lifetimes, now, &mut rng);
            let family = NewFamily {
                client: client.clone(),
                key: key.id(),
                binding,
                issued: issued(now),
                whence: whence(0),
            };
            session.open_family(family);
            let mut world = Self {
                key,
                client,
                session: Some(session),
                answered: vec![],
                now,
                binding,
                bind_to: None,
            };
            world.answer();
            world
        }

        fn family(&self) -> Option<&Family> {
            self.session.as_ref()?.families.get(FamilyNumber(1))
        }

        fn answer(&mut self) -> SecretText {
            let session = self.session.as_ref().unwrap();
            let name = self.family().unwrap().handle(session.id);
            let text = self.key.mint(&name, &self.client, &session.salt);
            self.answered.push(text.clone());
            text
        }

        /// Presents a text as a request would, and commits what was decided.
        fn present(&mut self, text: &SecretText, from: u8) -> Option<Result<SecretText, Refused>> {
            let session = self.session.clone()?;
            let handle = Handle::parse(text.expose(), |_| Some(&self.key)).unwrap();
            let handle = handle.prove(&self.key, &self.client, &session.salt).unwrap();
            let presented = Presented {
                handle,
                client: &self.client,
                shown: self.binding,
                whence: whence(from),
                key: self.key.id(),
                issued: Issued { key: self.bind_to, ..issued(self.now) },
            };
            let Refresh { change, answer } = refresh(session, presented, GRACE, self.now);
            for write in change.writes {
                match write {
                    Write::SaveSession(session) => self.session = Some(*session),
                    Write::EndSession { .. } => self.session = None,
                    other => panic!("a refresh never writes {other:?}"),
                }
            }
            Some(answer.map(|_| self.answer()))
        }
    }

    fn issued(now: Time) -> Issued {
        Issued {
            at: now,
            expires_at: now + GRACE,
            audience: "a".into(),
            scope: "".into(),
            roles: vec![],
            auth_time: None,
            key: None,
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Present { back: usize, from: u8 },
        Wait(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let present = (0..4_usize, 0..3_u8).prop_map(|(back, from)| Step::Present { back, from });
        let wait = prop_oneof![0..9_000_u64, 9_000..12_000_u64].prop_map(Step::Wait);
        prop::collection::vec(prop_oneof![3 => present, 1 => wait], 1..60)
    }

    proptest! {
        #[test]
        fn histories(steps in steps(), binding in prop::sample::select(&BINDINGS[..])) {
            let mut world = World::new(binding);
            let bound = binding != Binding::None;
            for step in steps {
                match step {
                    Step::Wait(ms) => world.now = world.now + Duration::from_millis(ms),
                    Step::Present { back, from } => {
                        let Some(family) = world.family().cloned() else {
                            // Ended stays ended, whatever is presented.
                            let text = world.answered[0].clone();
                            prop_assert!(world.present(&text, from).is_none());
                            continue;
                        };
                        let mut distinct = world.answered.clone();
                        distinct.dedup();
                        let text = distinct[distinct.len().saturating_sub(back + 1)].clone();
                        let generation_before = family.generation;
                        let behind = back.min(distinct.len() - 1);
                        let last = world.answered.last().cloned();
                        let answer = world.present(&text, from).unwrap();
                        let may_repeat = bound || family.age(world.now) <= GRACE;
                        match (behind, answer) {
                            (0, Ok(next)) => {
                                prop_assert_eq!(world.family().unwrap().generation, generation_before.next());
                                prop_assert!(Some(&next) != last.as_ref());
                            }
                            (1, Ok(same)) => {
                                prop_assert!(may_repeat);
                                prop_assert_eq!(Some(same), last, "a repeat gets the same answer");
                                let after = world.family().unwrap();
                                prop_assert_eq!(after.generation, generation_before);
                                prop_assert_eq!(&after.issued, &family.issued);
                            }
                            (1, Err(Refused::Theft)) => {
                                prop_assert!(world.session.is_none());
                                prop_assert!(!may_repeat || whence(from).is_stranger_to(family.whence));
                            }
                            (2.., Err(Refused::Theft)) => prop_assert!(world.session.is_none()),
                            (behind, answer) => prop_assert!(false, "{behind} behind got {answer:?}"),
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn repeats_from_elsewhere_over_several_generations_are_theft() {
        let mut world = World::new(Binding::None);
        let mut outcomes = vec![];
        for _ in 0..3 {
            let held = world.answer();
            world.present(&held, 0).unwrap().unwrap();
            outcomes.push(world.present(&held, 1).unwrap().err());
        }
        assert_eq!(outcomes, [None, None, Some(Refused::Theft)]);
        assert!(world.session.is_none());
    }

    #[test]
    fn what_does_not_fit_has_no_effect() {
        let mut world = World::new(Binding::Client);
        let held = world.answer();
        let before = world.session.clone();
        world.binding = Binding::None;
        assert_eq!(world.present(&held, 0).unwrap(), Err(Refused::Unbound));
        assert_eq!(world.session, before);
    }

    #[test]
    fn a_stolen_half_is_of_no_use_without_its_key() {
        let mut world = World::new(Binding::Key(KEY));
        let held = world.answer();
        let before = world.session.clone();
        for shown in [Binding::None, Binding::Client, Binding::Key(Thumbprint::from_bytes([2; 32]))]
        {
            world.binding = shown;
            assert_eq!(world.present(&held, 0).unwrap(), Err(Refused::Unbound));
            assert_eq!(world.session, before);
        }
        world.binding = Binding::Key(KEY);
        let next = world.present(&held, 0).unwrap().unwrap();
        // The answer was lost, and the machine slept: as long as nobody has used it, it is given again.
        world.now = world.now + DAY;
        assert_eq!(world.present(&held, 0).unwrap().unwrap(), next);
        world.present(&next, 0).unwrap().unwrap();
        assert_eq!(world.present(&held, 0).unwrap(), Err(Refused::Theft));
    }

    #[test]
    fn the_same_answer_is_for_the_same_key() {
        let mut world = World::new(Binding::Client);
        let held = world.answer();
        world.bind_to = Some(KEY);
        world.present(&held, 0).unwrap().unwrap();
        world.bind_to = None;
        assert_eq!(world.present(&held, 0).unwrap(), Err(Refused::Unbound));
        world.bind_to = Some(KEY);
        assert!(world.present(&held, 0).unwrap().is_ok());
    }

    #[test]
    fn a_closed_family_is_not_theft() {
        let mut world = World::new(Binding::None);
        let held = world.answer();
        world.session.as_mut().unwrap().families.close_all();
        assert_eq!(world.present(&held, 0).unwrap(), Err(Refused::Closed));
        assert!(world.session.is_some());
    }

    #[test]
    fn lost_history_is_adopted() {
        let mut world = World::new(Binding::None);
        let session = world.session.clone().unwrap();
        let (kind, family) = (Kind::Refresh, FamilyNumber(1));
        let name = Name { kind, session: session.id, family, generation: Generation(40) };
        let newer = world.key.mint(&name, &world.client, &session.salt);
        assert!(world.present(&newer, 0).unwrap().is_ok());
        assert_eq!(world.family().unwrap().generation, Generation(41));
    }
}
