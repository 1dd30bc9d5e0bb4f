//! The discussions that are there when the demo starts.

/// A thread with its posts: author and text.
pub(crate) struct Sample {
    pub(crate) title: &'static str,
    pub(crate) topic: &'static str,
    /// Author, hours before the start of the demo, text.
    pub(crate) posts: &'static [(&'static str, u64, &'static str)],
}

/// The threads, the oldest first.
pub(crate) const SAMPLES: [Sample; 5] = [
    Sample {
        title: "House rules (please read before your first firing)",
        topic: "Meta",
        posts: &[(
            "carol",
            700,
            "Be kind, name your cone, and say what clay it is. Photos help more than adjectives.\n\nModerators may hide \
             posts and close threads. If that happens to you, ask us why: we answer.",
        )],
    },
    Sample {
        title: "Celadon runs at cone 10 – too thick, or too long a soak?",
        topic: "Glaze",
        posts: &[
            (
                "mina",
                52,
                "Third kiln in a row where the celadon pools at the foot and welds the pot to the shelf. Two dips, 3 seconds \
                 each, 20 minutes of soak at the top. Where would you start?",
            ),
            (
                "alice",
                50,
                "With the soak. I fire the same recipe with 8 minutes and it stops a finger above the foot. Then wax higher \
                 than you think you need.",
            ),
            ("otto", 47, "And measure the specific gravity! Mine was 1.52 when I thought it was 1.45."),
            ("mina", 30, "1.55. I am ashamed and relieved. Thank you both."),
        ],
    },
    Sample {
        title: "A kick wheel for a third-floor flat",
        topic: "Tools",
        posts: &[
            (
                "bob",
                27,
                "I found a Leach wheel for the price of a bicycle. It weighs as much as a piano. Has anyone put one on wooden \
                 joists? I can build what it takes, I only want to know whether the neighbours will hate me.",
            ),
            (
                "carol",
                26,
                "Across the joists, on a 40 mm board with cork under it. The neighbours will hear nothing but your sighs.",
            ),
        ],
    },
    Sample {
        title: "Show us your worst handle",
        topic: "Lounge",
        posts: &[
            (
                "otto",
                20,
                "I will begin: it came off in the hands of the customer. In my own shop. While she was paying.",
            ),
            ("mina", 19, "Mine points to the left. The mug is a compass now."),
            (
                "alice",
                7,
                "I pulled one so thin that the kiln ate it. There are two stumps, like a lizard that got away.",
            ),
        ],
    },
    Sample {
        title: "Open studio on Saturday – who brings cake?",
        topic: "Lounge",
        posts: &[
            (
                "carol",
                5,
                "Doors at ten, raku from two o'clock on, if the wind allows. We have tea for thirty and cake for none.",
            ),
            ("bob", 3, "Lemon, two of them."),
        ],
    },
];
