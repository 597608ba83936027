//! Words and sentences that the embedded model's world is made of, as it was trained on them.

/// What is said of people: every kind of fact has its values and sentences.
pub struct Attribute {
    /// What `{v}` can be.
    pub values: &'static [&'static str],
    /// Sentences with the name `{n}` and the value `{v}`.
    pub sentences: &'static [&'static str],
}

/// Kinds of facts.
pub const ATTRIBUTES: &[Attribute] = &[
    Attribute {
        values: TOWNS,
        sentences: &[
            "{n} lives in {v}.",
            "The home of {n} is in {v}.",
            "At night {n} walks back to {v}.",
            "The house of {n} stands in {v}.",
            "{n} was born in {v}.",
        ],
    },
    Attribute {
        values: COLOURS,
        sentences: &[
            "{n} wears a {v} coat.",
            "The coat of {n} is {v}.",
            "{n} painted the door {v}.",
            "The hat of {n} is also {v}.",
        ],
    },
    Attribute {
        values: ANIMALS,
        sentences: &[
            "{n} keeps a {v}.",
            "The pet of {n} is a {v}.",
            "{n} went out to feed the {v}.",
            "Every day {n} plays with the {v}.",
        ],
    },
    Attribute {
        values: FOODS,
        sentences: &[
            "{n} likes to eat {v}.",
            "For supper {n} made {v}.",
            "The best dish of {n} is {v}.",
            "{n} went to the market to buy {v}.",
        ],
    },
    Attribute {
        values: JOBS,
        sentences: &[
            "{n} works as a {v}.",
            "{n} is known as the {v}.",
            "The trade of {n} is that of a {v}.",
            "People call {n} the {v}.",
        ],
    },
    Attribute {
        values: TOOLS,
        sentences: &[
            "{n} carries a {v}.",
            "In the bag of {n} there is a {v}.",
            "{n} went to find the {v}.",
            "{n} never leaves without the {v}.",
        ],
    },
];

/// Names of people, for sentences of filler.
pub const NAMES: &[&str] = &[
    "Mira", "Tobin", "Odra", "Pelle", "Sanna", "Borin", "Katla", "Ivo", "Runa", "Dag", "Lise", "Falk", "Nessa",
    "Orrin", "Vera", "Joss", "Tilda", "Marek", "Anka", "Bram", "Celia", "Edda", "Finn", "Gerda", "Hugo", "Irma",
    "Jorun", "Kolya", "Lorne", "Maud", "Nils", "Olga", "Pia", "Quill", "Rolf", "Selma", "Theo", "Ulla", "Viggo",
    "Wanda",
];

/// Names of towns, for sentences of filler.
pub const TOWNS: &[&str] = &[
    "Dunmoor", "Ashby", "Kelda", "Norwick", "Saltmere", "Thornby", "Wexley", "Larkhill", "Brindle", "Fenwick",
    "Gorsey", "Holm", "Ivaro", "Juniper", "Marsk", "Oakham", "Penrow", "Quarry", "Rushden", "Stonham", "Tarnby",
    "Umber", "Vale", "Yarrow",
];

/// Colours, for sentences of filler.
pub const COLOURS: &[&str] = &["red", "blue", "green", "yellow", "white", "black", "brown", "grey", "pink", "purple"];

/// Animals, for sentences of filler.
pub const ANIMALS: &[&str] = &[
    "dog", "cat", "goat", "horse", "sheep", "cow", "duck", "hen", "fox", "pig", "rabbit", "crow", "donkey", "mouse",
    "goose", "pony",
];

/// Foods, for sentences of filler.
pub const FOODS: &[&str] = &[
    "bread", "soup", "cheese", "apples", "honey", "beans", "fish", "rice", "plums", "nuts", "cake", "eggs", "milk",
    "corn", "pears", "stew",
];

/// Trades that people have, for sentences of filler.
pub const JOBS: &[&str] = &[
    "baker", "miller", "weaver", "potter", "farmer", "teacher", "sailor", "smith", "tailor", "doctor", "painter",
    "hunter", "cook", "guard", "singer", "mason",
];

/// Tools that people use, for sentences of filler.
pub const TOOLS: &[&str] =
    &["hammer", "lamp", "rope", "basket", "knife", "ladder", "bucket", "needle", "spade", "broom", "bell", "drum"];

/// `ADJ` of sentences.
pub const ADJECTIVES: &[&str] = &[
    "old", "small", "quiet", "cold", "bright", "long", "dark", "soft", "wide", "green", "heavy", "slow", "empty",
    "golden",
];

/// `NOUN` of sentences.
pub const NOUNS: &[&str] = &[
    "river", "hill", "road", "forest", "garden", "field", "lake", "bridge", "wall", "tower", "village", "barn", "mill",
    "tree", "stone", "wind", "cloud", "moon", "boat", "wagon", "kitchen", "window", "path", "valley",
];

/// `VERB` of sentences.
pub const VERBS: &[&str] = &[
    "rests", "waits", "sleeps", "stands", "shines", "turns", "moves", "sings", "falls", "grows", "drifts", "stays",
    "fades", "begins",
];

/// `PREP` of sentences.
pub const PREPOSITIONS: &[&str] = &["near", "under", "behind", "above", "beside", "beyond", "across", "over"];

/// `PLUR` of sentences.
pub const PLURALS: &[&str] =
    &["boats", "carts", "trees", "stones", "birds", "lamps", "sacks", "barrels", "coins", "steps"];

/// `TIME` of sentences.
pub const TIMES: &[&str] = &[
    "In the morning",
    "At noon",
    "In the evening",
    "After the rain",
    "Before winter",
    "Late in spring",
    "Every autumn",
    "Once again",
];

/// Sentences without a choice.
pub const FIXED: &[&str] = &[
    "The kettle hums and the floor is warm.",
    "Leaves gather by the gate and nobody sweeps them.",
    "A cart rolls by and then it is quiet.",
    "The clouds come and the clouds go.",
    "Water runs down to the mill as it always does.",
    "The bread is in the oven and the table is set.",
    "Somebody left a chair out in the field.",
    "The bell rings twice and then it stops.",
    "Snow lies on the roof and smoke goes up.",
    "The path bends left and then it bends right.",
    "There is nothing to see and nothing to do.",
    "One day ends and the next one starts.",
    "The tide is low and the sand is wet.",
    "Birds sit on the fence in a long row.",
    "The shop is shut and the street is still.",
    "A candle burns and a clock ticks on.",
    "Grass grows tall along the old stone wall.",
    "The rain begins and the rain ends.",
    "Wood is stacked up high behind the barn.",
    "The boat is tied and the rope is tight.",
];
