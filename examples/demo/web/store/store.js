// The store's page. It knows a form, an API, and what to do when a request says that nobody is signed in.

import { api } from "/assets/api.js";
import { focusOn, h, show, toast } from "/assets/dom.js";
import { setUser, startFlow } from "/assets/flow.js";
import { pageSession } from "/assets/session.js";
import { signInForm } from "/assets/sign-in.js";
import { picture } from "/assets/art.js";

const state = { user: null, products: [], cart: { lines: [], total_cents: 0 }, kind: "All" };
const money = new Intl.NumberFormat("en", { style: "currency", currency: "EUR" });
const price = (cents) => money.format(cents / 100);

const { attempt, whoAmI, askWho, signOut } = pageSession({
  state,
  signedIn: async (user) => {
    signedIn(user);
    await attempt(loadCart);
  },
  signedOut,
  route,
});

startFlow({
  appName: "Store",
  isPublic: (path) => path === "/" || path === "/api/products" || path.startsWith("/assets/"),
  poke: () => attempt(loadCart),
  askWho,
  signOut,
  other: "forums",
});

async function start() {
  const products = api("GET", "/api/products");
  await whoAmI();
  state.products = (await products).products;
  route();
}

function signedIn(user) {
  state.user = user;
  setUser(user);
  chrome();
  drawCart();
}

function signedOut(message) {
  if (message) toast(message, "bad");
  const changed = state.user !== null;
  state.user = null;
  state.cart = { lines: [], total_cents: 0 };
  setUser(null);
  chrome();
  drawCart();
  if (changed && location.hash && location.hash !== "#shop") location.hash = "#shop";
}

async function loadCart() {
  state.cart = await api("GET", "/api/shopping-cart");
  drawCart();
}

async function setQuantity(product, quantity) {
  if (!state.user) {
    document.getElementById("username")?.focus();
    toast("Sign in first: the cart is yours alone.");
    return;
  }
  await attempt(async () => {
    state.cart = await api("POST", "/api/shopping-cart", { json: { product, quantity } });
    drawCart();
  });
}

async function clearCart() {
  await attempt(async () => {
    state.cart = await api("DELETE", "/api/shopping-cart");
    drawCart();
  });
}

async function checkOut() {
  await attempt(async () => {
    const { order } = await api("POST", "/api/orders");
    toast(`Order ${order.number} is placed. Thank you!`, "good");
    await loadCart();
    location.hash = "#orders";
    route();
  });
}

// What is on the screen

function chrome() {
  const page = location.hash || "#shop";
  const links = [["#shop", "Shop"]];
  if (state.user) links.push(["#orders", "Your orders"], ["#admin", "All orders"]);
  show("nav", links.map(([href, text]) => h("a", { href, "aria-current": href === page ? "page" : null }, text)));
  if (!state.user) return show("account", h("span", { class: "muted" }, "Not signed in"));
  const name = state.user.name || state.user.preferred_username || state.user.email || "You";
  return show("account",
    h("span", { class: "avatar", "aria-hidden": "true" }, name.slice(0, 1)), h("span", { id: "who" }, name),
    h("button", { type: "button", class: "quiet", id: "sign-out", onclick: signOut }, "Sign out"));
}

function drawCart() {
  if (!state.user) {
    if (document.getElementById("username")) return;
    show("side", signInForm({
      title: "Sign in",
      text: "Your cart waits for you.",
      send: (username, password) => api("POST", "/api/login", { json: { username, password } }),
      done: (user) => {
        signedIn(user);
        focusOn(document.getElementById("side"));
        attempt(loadCart);
      },
    }));
    return;
  }
  const { lines, total_cents: total } = state.cart;
  const count = lines.reduce((sum, line) => sum + line.quantity, 0);
  show("side",
    h("h2", {}, "Your cart ", h("span", { class: "muted", id: "cart-count" }, count ? `(${count})` : "")),
    lines.length === 0 && h("p", { class: "empty" }, "Still empty. Add something you like."),
    lines.length > 0 && h("ul", { class: "cart-lines" }, lines.map(cartLine)),
    lines.length > 0 && h("p", { class: "total" }, h("span", {}, "Total"), h("span", { id: "cart-total" }, price(total))),
    lines.length > 0 && h("button", { type: "button", class: "primary wide", id: "check-out", onclick: checkOut }, "Place the order"),
    lines.length > 0 && h("button", { type: "button", class: "quiet wide", onclick: clearCart }, "Empty the cart"));
}

function cartLine(line) {
  const product = state.products.find(({ id }) => id === line.product) ?? line;
  const change = (by) => setQuantity(line.product, line.quantity + by);
  return h("li", { class: "cart-line", "data-product": line.product },
    h("div", { class: "picture" }, picture(product)),
    h("span", { class: "name" }, line.name),
    h("span", { class: "line-price" }, price(line.quantity * line.price_cents)),
    h("span", { class: "stepper", role: "group", "aria-label": `Quantity of ${line.name}` },
      h("button", { type: "button", "aria-label": "One less", onclick: () => change(-1) }, "−"),
      h("output", {}, String(line.quantity)),
      h("button", { type: "button", "aria-label": "One more", onclick: () => change(1) }, "+")));
}

function drawShop() {
  const kinds = ["All", ...new Set(state.products.map(({ kind }) => kind))];
  const chosen = state.products.filter(({ kind }) => state.kind === "All" || kind === state.kind);
  show("main",
    h("section", { class: "hero" }, h("h1", {}, "Pottery, made slowly."),
      h("p", {}, "Twelve pieces from one wheel and one kiln. Thrown on Mondays, fired on Thursdays.")),
    h("div", { class: "filters", role: "group", "aria-label": "Kind" }, kinds.map((kind) =>
      h("button", { type: "button", class: "chip", "aria-pressed": String(kind === state.kind), onclick: () => { state.kind = kind; drawShop(); } }, kind))),
    h("ul", { class: "grid" }, chosen.map(productTile)));
}

function productTile(product) {
  const add = () => {
    const line = state.cart.lines.find(({ product: id }) => id === product.id);
    return setQuantity(product.id, (line?.quantity ?? 0) + 1);
  };
  return h("li", { class: "product", "data-product": product.id },
    h("div", { class: "picture" }, picture(product)),
    h("h3", {}, product.name), h("p", { class: "text" }, product.text),
    h("div", { class: "buy" }, h("span", { class: "price" }, price(product.price_cents)),
      h("button", { type: "button", class: "secondary", "aria-label": `Add ${product.name} to the cart`, onclick: add }, "Add")));
}

async function drawOrders(path, title, empty) {
  try {
    const { orders } = await api("GET", path);
    show("main", h("h1", { class: "page" }, title), orders.length === 0 && h("p", { class: "card muted" }, empty), orders.map(orderCard));
  } catch (problem) {
    if (problem.signedOut) return signedOut("Please sign in first.");
    show("main", h("h1", { class: "page" }, title),
      h("section", { class: "card problem", id: "problem" }, h("h2", {}, problem.status === 403 ? "This page is for administrators" : problem.title || "That did not work"),
        h("p", {}, problem.message), h("p", { class: "code" }, `${problem.status} ${problem.code ?? ""}`)));
  }
  return undefined;
}

function orderCard(order) {
  const placed = new Date(order.placed_at * 1000).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
  return h("article", { class: "card order" },
    h("header", {}, h("span", {}, `Order ${order.number}`), h("span", {}, price(order.total_cents))),
    h("p", { class: "muted" }, `${placed}, ${order.customer}`),
    h("ul", {}, order.lines.map((line) => h("li", {}, h("span", {}, `${line.quantity} × ${line.name}`), h("span", {}, price(line.quantity * line.price_cents))))));
}

function route() {
  chrome();
  const page = location.hash || "#shop";
  if (page === "#orders" && state.user) return drawOrders("/api/orders", "Your orders", "No orders yet.");
  if (page === "#admin" && state.user) return drawOrders("/api/admin/orders", "All orders", "Nobody has ordered yet.");
  return drawShop();
}

start().catch((problem) => toast(problem.message, "bad"));
