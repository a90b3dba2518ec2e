//! Which classes and texts are one to Java: equal ones have the same number.
//!
//! Each is looked at once, however often it is used and whatever uses it. To compare classes takes long where they
//! differ in a far parent only, where they have many fields, or where those have long types; and who sends a stream
//! chooses all of that.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::super::{Class, Text};

/// The numbers of what has been looked at.
#[derive(Default)]
pub(super) struct Kinds {
    /// Of classes, by where they lie: they are kept, so that no other comes to lie there.
    classes: BTreeMap<usize, (Arc<Class>, u32)>,
    /// Of texts, by where they lie: those of classes are kept with them, and the others the caller holds.
    places: BTreeMap<usize, u32>,
    /// Of texts, by what they say.
    texts: BTreeMap<Text, u32>,
    /// What a class consists of, one after the other, what it extends first: where each step leads.
    steps: BTreeMap<(u32, u64), u32>,
    #[cfg(test)]
    work: usize,
}

impl Kinds {
    /// The number of a class, if it is known.
    pub(super) fn known(&self, class: &Arc<Class>) -> Option<u32> {
        self.classes.get(&place(class)).map(|known| known.1)
    }

    /// The number of a class.
    pub(super) fn class(&mut self, class: &Arc<Class>) -> u32 {
        let mut open = Vec::new();
        let mut number = 0;
        let mut next = Some(class);
        while let Some(class) = next {
            if let Some(known) = self.known(class) {
                number = known;
                break;
            }
            open.push(class);
            next = class.parent.as_ref();
        }
        for class in open.into_iter().rev() {
            number = self.extending(number, class);
            self.classes.insert(place(class), (Arc::clone(class), number));
        }
        number
    }

    /// The number of a text that outlives the writing, or is of a class that is kept.
    pub(super) fn text(&mut self, text: &Text) -> u32 {
        let place = text.address();
        if let Some(&number) = self.places.get(&place) {
            return number;
        }
        let next = count(self.texts.len());
        let number = *self.texts.entry(text.clone()).or_insert(next);
        self.places.insert(place, number);
        number
    }

    /// The number of a class that extends the one of this number. The lists say their lengths, so that no class is
    /// the beginning of another.
    fn extending(&mut self, parent: u32, class: &Class) -> u32 {
        let interfaces = class.interfaces.as_ref();
        let head = [
            self.text(&class.name).into(),
            class.suid.cast_unsigned(),
            class.flags.into(),
            class.fields.len() as u64,
            interfaces.map_or(0, |interfaces| interfaces.len() as u64 + 1),
        ];
        let mut number = head.into_iter().fold(parent, |number, part| self.step(number, part));
        for field in &class.fields {
            for text in [&field.name, &field.signature] {
                let part = self.text(text);
                number = self.step(number, part.into());
            }
        }
        for interface in interfaces.into_iter().flatten() {
            let part = self.text(interface);
            number = self.step(number, part.into());
        }
        number
    }

    fn step(&mut self, number: u32, part: u64) -> u32 {
        #[cfg(test)]
        {
            self.work += 1;
        }
        // 0 extends nothing.
        let next = count(self.steps.len() + 1);
        *self.steps.entry((number, part)).or_insert(next)
    }
}

fn place(class: &Arc<Class>) -> usize {
    Arc::as_ptr(class) as usize
}

/// There is no room for more of them in memory.
fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(name: &str, parent: Option<&Arc<Class>>) -> Arc<Class> {
        let class = Class::new(name, 1, 2).with("a", "I").with("b", "Ljava/lang/String;");
        Arc::new(Class { parent: parent.cloned(), ..class })
    }

    /// What differs in one place only.
    #[test]
    fn equal_classes_have_one_number() {
        let base =
            Class { interfaces: Some(alloc::vec!["i".into()]), ..Class::new("c", 1, 2).with("a", "I") };
        let others = [
            Class::new("d", 1, 2).with("a", "I"),
            Class { suid: 2, ..base.clone() },
            Class { flags: 3, ..base.clone() },
            Class { interfaces: None, ..base.clone() },
            Class { interfaces: Some(Vec::new()), ..base.clone() },
            base.clone().with("b", "I"),
            Class { fields: Vec::new(), ..base.clone() },
            base.clone().extending(Class::new("c", 1, 2)),
            base.clone().extending(base.clone()),
        ];
        let mut kinds = Kinds::default();
        let mut numbers: Vec<u32> =
            [base.clone()].into_iter().chain(others).map(|class| kinds.class(&Arc::new(class))).collect();
        assert_eq!(kinds.class(&Arc::new(base.clone())), numbers[0]);
        assert_eq!(kinds.class(&Arc::new(base)), numbers[0]);
        let all = numbers.len();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), all);
    }

    /// Chains of 100 classes that differ in the farthest only: each class is looked at once.
    #[test]
    fn far_parents_cost_once() {
        let mut kinds = Kinds::default();
        for n in 0..200 {
            let far = class(&alloc::format!("far{n}"), None);
            let near = (0..99).fold(far, |parent, _| class("near", Some(&parent)));
            let number = kinds.class(&near);
            let work = kinds.work;
            assert_eq!(kinds.class(&near), number);
            assert_eq!((kinds.work, work), ((n + 1) * 100 * 9, (n + 1) * 100 * 9));
        }
    }

    /// One class that a stream describes twice, and uses often.
    #[test]
    fn a_class_that_is_described_twice_costs_twice() {
        let mut kinds = Kinds::default();
        let (one, other) = (class("c", None), class("c", None));
        for _ in 0..1000 {
            assert_eq!(kinds.class(&one), kinds.class(&other));
        }
        assert_eq!(kinds.work, 18);
    }
}
