//! The store's products.

use serde::Serialize;

/// A product. Its picture is drawn by the page from `shape` and `glaze`.
#[derive(Debug, Serialize)]
pub(crate) struct Product {
    pub(crate) id: &'static str,
    pub(crate) name: &'static str,
    pub(crate) text: &'static str,
    pub(crate) price_cents: u32,
    pub(crate) shape: &'static str,
    pub(crate) glaze: &'static str,
    pub(crate) kind: &'static str,
}

/// The whole catalogue.
pub(crate) static PRODUCTS: [Product; 12] = [
    product(
        "harbour-mug",
        "Harbour mug",
        "Holds 320 ml and the warmth of a long letter.",
        2400,
        "mug",
        "sea",
        "Table",
    ),
    product("dawn-bowl", "Dawn bowl", "Wide, shallow, thrown in one pull.", 3200, "bowl", "peach", "Table"),
    product("tide-vase", "Tide vase", "A narrow neck for three stems, no more.", 5800, "vase", "ink", "Room"),
    product(
        "ember-teapot",
        "Ember teapot",
        "Pours without a drip; we tested for a month.",
        8900,
        "teapot",
        "rust",
        "Table",
    ),
    product(
        "moss-planter",
        "Moss planter",
        "Unglazed inside, so that roots can breathe.",
        4600,
        "planter",
        "moss",
        "Garden",
    ),
    product(
        "salt-carafe",
        "Salt carafe",
        "One litre, salt-fired, with a foot ring.",
        6400,
        "carafe",
        "salt",
        "Table",
    ),
    product(
        "noon-plate",
        "Noon plate",
        "27 cm, with a rim that forgives sauces.",
        2800,
        "plate",
        "sand",
        "Table",
    ),
    product(
        "dusk-candle",
        "Dusk candle holder",
        "Throws a soft ring of light on the table.",
        1900,
        "candle",
        "plum",
        "Room",
    ),
    product(
        "reed-bottle",
        "Reed bottle",
        "For oil, or for a single branch in winter.",
        3900,
        "bottle",
        "sea",
        "Room",
    ),
    product(
        "grain-jar",
        "Grain jar",
        "A lid with a wooden knob, airtight enough.",
        5200,
        "jar",
        "sand",
        "Table",
    ),
    product(
        "fern-cup",
        "Fern cup",
        "No handle. Espresso, or very good whisky.",
        1600,
        "cup",
        "moss",
        "Table",
    ),
    product("night-urn", "Night urn", "The piece people ask about.", 14900, "urn", "ink", "Room"),
];

const fn product(
    id: &'static str,
    name: &'static str,
    text: &'static str,
    price_cents: u32,
    shape: &'static str,
    glaze: &'static str,
    kind: &'static str,
) -> Product {
    Product { id, name, text, price_cents, shape, glaze, kind }
}
