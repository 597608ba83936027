//! Filler of the embedded model's own prompts: six kinds of sentences that say nothing of a pass key.

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use super::words::{ADJECTIVES, ATTRIBUTES, Attribute, FIXED, NAMES, NOUNS, PLURALS, PREPOSITIONS, TIMES, VERBS};

/// An endless supply of sentences.
pub struct Filler {
    random: ChaCha8Rng,
    kind: Kind,
}

enum Kind {
    /// A few fixed sentences, repeated in order.
    Block { sentences: Vec<&'static str>, n_told: usize },
    /// Fixed sentences in any order.
    Fixed,
    /// Sentences put together from words.
    Grammar,
    /// Half of them with numbers.
    Numbers,
    /// Any of the others, sentence by sentence.
    Mixed(Cast),
    /// Facts about a few people, told and told again.
    Folk(Cast),
}

/// A few people and what has been said of them.
struct Cast {
    names: Vec<&'static str>,
    facts: Vec<Fact>,
    /// Fact of every statement so far.
    told: Vec<usize>,
}

struct Fact {
    name: &'static str,
    attribute: &'static Attribute,
    value: &'static str,
}

impl Filler {
    /// Filler of a kind that the random numbers choose.
    pub fn new(mut random: ChaCha8Rng) -> Self {
        let kind = match random.random_range(0..6u32) {
            0 => {
                let n_sentences = random.random_range(2..=5);
                Kind::Block { sentences: FIXED.sample(&mut random, n_sentences).copied().collect(), n_told: 0 }
            }
            1 => Kind::Fixed,
            2 => Kind::Grammar,
            3 => Kind::Numbers,
            4 => Kind::Mixed(Cast::new(&mut random)),
            _ => Kind::Folk(Cast::new(&mut random)),
        };
        Self { random, kind }
    }
}

impl Iterator for Filler {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let random = &mut self.random;
        Some(match &mut self.kind {
            Kind::Block { sentences, n_told } => {
                *n_told += 1;
                sentences[(*n_told - 1) % sentences.len()].to_owned()
            }
            Kind::Fixed => any(FIXED, random).to_owned(),
            Kind::Grammar => grammar(random),
            Kind::Numbers => numbers(random),
            Kind::Folk(cast) => cast.tell(random),
            Kind::Mixed(cast) => match random.random_range(0..4u32) {
                0 => any(FIXED, random).to_owned(),
                1 => grammar(random),
                2 => numbers(random),
                _ => cast.tell(random),
            },
        })
    }
}

fn any(words: &[&'static str], random: &mut ChaCha8Rng) -> &'static str {
    words.choose(random).expect("word lists are not empty")
}

fn grammar(random: &mut ChaCha8Rng) -> String {
    let kind: f64 = random.random();
    let mut word = |words| any(words, random);
    if kind < 0.5 {
        let (adjective, noun, verb) = (word(ADJECTIVES), word(NOUNS), word(VERBS));
        format!("The {adjective} {noun} {verb} {} the {}.", word(PREPOSITIONS), word(NOUNS))
    } else if kind < 0.8 {
        format!("{} the {} {}.", word(TIMES), word(NOUNS), word(VERBS))
    } else {
        let (time, adjective, noun, verb) = (word(TIMES), word(ADJECTIVES), word(NOUNS), word(VERBS));
        format!("{time} the {adjective} {noun} {verb} {} the {} {}.", word(PREPOSITIONS), word(ADJECTIVES), word(NOUNS))
    }
}

fn numbers(random: &mut ChaCha8Rng) -> String {
    if random.random_bool(0.5) {
        return grammar(random);
    }
    let n_digits = random.random_range(1..=5u32);
    let number: String = (0..n_digits).map(|_| char::from(random.random_range(b'0'..=b'9'))).collect();
    let kind: f64 = random.random();
    let mut word = |words| any(words, random);
    if kind < 0.4 {
        format!("There were {number} {} {} the {}.", word(PLURALS), word(PREPOSITIONS), word(NOUNS))
    } else if kind < 0.7 {
        format!("The {} is {number} steps from the {}.", word(NOUNS), word(NOUNS))
    } else {
        format!("They counted {number} {} in all.", word(PLURALS))
    }
}

impl Cast {
    fn new(random: &mut ChaCha8Rng) -> Self {
        let n_names = random.random_range(2..=5);
        Self { names: NAMES.sample(random, n_names).copied().collect(), facts: Vec::new(), told: Vec::new() }
    }

    /// A known fact again, or one of a person and attribute drawn anew.
    fn tell(&mut self, random: &mut ChaCha8Rng) -> String {
        let at =
            if !self.facts.is_empty() && random.random_bool(0.55) { self.known(random) } else { self.drawn(random) };
        self.told.push(at);
        let Fact { name, attribute, value } = self.facts[at];
        let sentence = any(attribute.sentences, random);
        let later = sentence.strip_prefix("The ").filter(|_| random.random_bool(0.12));
        let sentence = later.map_or_else(|| sentence.to_owned(), |rest| format!("Later the {rest}"));
        sentence.replace("{n}", name).replace("{v}", value)
    }

    fn known(&self, random: &mut ChaCha8Rng) -> usize {
        if random.random_bool(0.4) {
            let recent = &self.told[self.told.len().saturating_sub(8)..];
            return *recent.choose(random).expect("a known fact was told");
        }
        random.random_range(0..self.facts.len())
    }

    fn drawn(&mut self, random: &mut ChaCha8Rng) -> usize {
        let name = any(&self.names, random);
        let attribute = ATTRIBUTES.choose(random).expect("there are attributes");
        let is_this = |fact: &Fact| fact.name == name && std::ptr::eq(fact.attribute, attribute);
        self.facts.iter().position(is_this).unwrap_or_else(|| {
            self.facts.push(Fact { name, attribute, value: any(attribute.values, random) });
            self.facts.len() - 1
        })
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn every_kind_tells_its_own_sentences() {
        let told = |kind| {
            let filler = Filler { random: ChaCha8Rng::seed_from_u64(3), kind };
            filler.take(5).collect::<Vec<_>>().join("\n")
        };
        let cast = || Cast { names: vec!["Mira", "Tobin"], facts: Vec::new(), told: Vec::new() };
        insta::assert_snapshot!(told(Kind::Block { sentences: vec!["One.", "Two."], n_told: 0 }), @"
        One.
        Two.
        One.
        Two.
        One.
        ");
        insta::assert_snapshot!(told(Kind::Fixed), @"
        A cart rolls by and then it is quiet.
        The tide is low and the sand is wet.
        The tide is low and the sand is wet.
        Leaves gather by the gate and nobody sweeps them.
        Wood is stacked up high behind the barn.
        ");
        insta::assert_snapshot!(told(Kind::Grammar), @"
        Late in spring the hill fades.
        In the morning the boat falls.
        In the evening the quiet cloud stands beside the bright boat.
        Every autumn the lake fades.
        The dark moon begins across the river.
        ");
        insta::assert_snapshot!(told(Kind::Numbers), @"
        They counted 0937 lamps in all.
        The lake is 26 steps from the boat.
        They counted 29444 coins in all.
        The cold stone falls over the bridge.
        They counted 063 sacks in all.
        ");
        insta::assert_snapshot!(told(Kind::Folk(cast())), @"
        Mira likes to eat cake.
        The best dish of Mira is cake.
        For supper Mira made cake.
        Mira went to the market to buy cake.
        Mira went to the market to buy cake.
        ");
        insta::assert_snapshot!(told(Kind::Mixed(cast())), @"
        The tide is low and the sand is wet.
        The bridge is 70 steps from the wagon.
        At noon the tree shines.
        Mira is known as the cook.
        People call Mira the cook.
        ");
    }

    #[test]
    fn people_keep_their_facts() {
        let mut cast = Cast { names: NAMES[..3].to_vec(), facts: Vec::new(), told: Vec::new() };
        let mut random = ChaCha8Rng::seed_from_u64(1);
        (0..500).for_each(|_| drop(cast.tell(&mut random)));
        assert_eq!(cast.facts.len(), 3 * ATTRIBUTES.len());
    }
}
