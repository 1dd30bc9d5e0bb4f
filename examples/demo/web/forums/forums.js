// The forums' page: reading for everybody, writing for members, and a WebSocket that brings what others write.

import { api } from "/assets/api.js";
import { focusOn, h, show, toast } from "/assets/dom.js";
import { setUser, startFlow } from "/assets/flow.js";
import { pageSession } from "/assets/session.js";
import { signInForm } from "/assets/sign-in.js";

const state = { user: null, thread: null, fresh: null, socket: null, retry: 0 };

const { attempt, whoAmI, askWho, signOut } = pageSession({ state, signedIn, signedOut, route });

startFlow({
  appName: "Forums",
  isPublic: (path) => path === "/" || path.startsWith("/assets/"),
  poke: () => attempt(() => api("GET", "/api/profile")),
  askWho,
  signOut,
  other: "store",
});

async function signedIn(user) {
  state.user = user;
  setUser(user);
  drawAccount();
  const profile = await attempt(() => api("GET", "/api/profile"));
  if (profile && state.user) drawProfile(profile);
  listen();
}

function signedOut(message) {
  if (message) toast(message, "bad");
  const changed = state.user !== null;
  state.user = null;
  setUser(null);
  state.socket?.close();
  state.socket = null;
  drawAccount();
  drawSignIn();
  if (changed) route();
}

/** The live connection. It ends with the session, and comes back as long as there is one. */
function listen() {
  if (state.socket || !state.user) return;
  const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/api/live`);
  state.socket = socket;
  socket.addEventListener("open", () => {
    state.retry = 0;
    document.getElementById("live")?.classList.add("on");
  });
  socket.addEventListener("message", (event) => heard(JSON.parse(event.data)));
  socket.addEventListener("close", () => {
    if (state.socket !== socket) return;
    state.socket = null;
    document.getElementById("live")?.classList.remove("on");
    state.retry = Math.min(state.retry + 1, 6);
    setTimeout(listen, 500 * 2 ** state.retry);
  });
}

function heard(news) {
  if (news.type === "present") return drawPresent(news.names);
  if (news.type === "thread" && !state.thread) return route();
  if (news.type === "moderated" && news.thread === state.thread) return route();
  if (news.type !== "post") return undefined;
  if (!state.thread) return route();
  if (news.thread !== state.thread || document.querySelector(`[data-post="${news.post.id}"]`)) return undefined;
  const posts = document.getElementById("posts");
  posts?.append(postCard(news.post, true));
  return undefined;
}

// What is on the screen

const ROUTE = /^#thread-(\d+)$/;

async function route() {
  const match = ROUTE.exec(location.hash);
  state.thread = match ? Number(match[1]) : null;
  if (location.hash === "#new" && state.user) return drawNewThread();
  return attempt(() => (state.thread ? drawThread() : drawList()));
}

async function drawList() {
  const { threads, signed_in_as: name } = await api("GET", "/api/threads");
  if (state.thread) return;
  // The session has ended, and on this route that is no error.
  if (!name && state.user) whoAmI();
  show("main",
    h("div", { class: "heading" }, h("div", {}, h("h1", {}, "Conversations"),
      h("p", { class: "muted" }, name ? `Signed in as ${name}` : "You are reading as a guest.")),
      state.user && h("a", { class: "primary", href: "#new", id: "new-thread" }, "New thread")),
    h("ol", { class: "threads" }, threads.map((thread) =>
      h("li", { class: "thread" }, avatar(thread.author), h("a", { href: `#thread-${thread.id}` }, thread.title),
        h("p", { class: "replies" }, h("strong", {}, String(thread.replies)), thread.replies === 1 ? "reply" : "replies"),
        h("p", { class: "meta" }, h("span", { class: "topic" }, thread.topic), thread.closed && h("span", { class: "topic" }, "closed"),
          h("span", {}, `${thread.last_author}, ${ago(thread.last_at)}`))))));
}

async function drawThread() {
  const id = state.thread;
  const { thread } = await api("GET", `/api/threads?id=${id}`);
  if (state.thread !== id) return;
  const draft = document.getElementById("reply")?.value ?? "";
  show("main",
    h("a", { class: "back", href: "#" }, "← All conversations"),
    h("h1", {}, thread.title),
    h("p", { class: "meta" }, h("span", { class: "topic" }, thread.topic), thread.closed && h("span", { class: "topic" }, "closed"),
      isModerator() && h("button", { type: "button", class: "quiet", onclick: () => moderate(null, !thread.closed) }, thread.closed ? "Open again" : "Close thread")),
    h("ol", { class: "posts", id: "posts" }, thread.posts.map((post) => postCard(post, false))),
    replyForm(thread, draft));
}

function postCard(post, fresh) {
  const text = post.hidden && !post.text ? "A moderator has hidden this post." : post.text;
  return h("li", { class: `card post ${post.hidden ? "hidden" : ""} ${fresh ? "fresh" : ""}`, "data-post": post.id },
    avatar(post.author),
    h("header", {}, h("strong", {}, post.author), h("span", { class: "muted" }, ago(post.posted_at)),
      isModerator() && h("button", { type: "button", class: "quiet", onclick: () => moderate(post.id, !post.hidden) }, post.hidden ? "Show" : "Hide")),
    h("p", { class: "text" }, text));
}

function replyForm(thread, draft) {
  if (thread.closed) return h("p", { class: "card muted" }, "This thread is closed.");
  if (!state.user) return h("p", { class: "card muted" }, "Sign in to reply.");
  const text = h("textarea", { id: "reply", required: true, maxlength: 4000, placeholder: "What do you think?" });
  text.value = draft;
  const send = async (event) => {
    event.preventDefault();
    await attempt(async () => {
      const { post } = await api("POST", "/api/posts", { json: { thread: thread.id, text: text.value } });
      text.value = "";
      if (!document.querySelector(`[data-post="${post.id}"]`)) document.getElementById("posts").append(postCard(post, true));
    });
  };
  return h("form", { class: "card composer", onsubmit: send }, h("label", { for: "reply" }, "Your reply"), text,
    h("div", { class: "row" }, h("span", { class: "muted" }, "Everybody who is here sees it at once."), h("button", { class: "primary", type: "submit" }, "Post reply")));
}

function drawNewThread() {
  const title = h("input", { id: "title", required: true, maxlength: 120 });
  const topic = h("select", { id: "topic" }, ["Glaze", "Tools", "Lounge", "Meta"].map((name) => h("option", {}, name)));
  const text = h("textarea", { id: "text", required: true, maxlength: 4000 });
  const send = async (event) => {
    event.preventDefault();
    await attempt(async () => {
      const { thread } = await api("POST", "/api/new-thread", { json: { title: title.value, topic: topic.value, text: text.value } });
      location.hash = `#thread-${thread}`;
    });
  };
  show("main", h("a", { class: "back", href: "#" }, "← All conversations"), h("h1", {}, "New thread"),
    h("form", { class: "card composer", onsubmit: send },
      h("label", { for: "title" }, "Title"), title, h("label", { for: "topic" }, "Topic"), topic, h("label", { for: "text" }, "Text"), text,
      h("div", { class: "row" }, h("span"), h("button", { class: "primary", type: "submit" }, "Start the thread"))));
}

async function moderate(post, on) {
  await attempt(async () => {
    await api("POST", "/api/moderation/verdicts", { json: { thread: state.thread, post, on } });
    await route();
  });
}

function drawAccount() {
  if (!state.user) return show("account", h("span", { class: "muted" }, "Guest"));
  const name = state.user.name || state.user.email || "You";
  return show("account", h("span", { id: "who" }, name), h("button", { type: "button", class: "quiet", id: "sign-out", onclick: signOut }, "Sign out"));
}

function drawSignIn() {
  document.getElementById("present").hidden = true;
  if (document.getElementById("username")) return;
  show("side", signInForm({
    title: "Join in",
    text: "Everybody reads, members write.",
    send: (username, password) => api("POST", "/api/login", { form: { username, password } }),
    done: async (user) => {
      await signedIn(user);
      focusOn(document.getElementById("side"));
      await route();
    },
  }));
}

function drawProfile({ name, posts, moderator }) {
  show("side", h("div", { class: "me" }, avatar(name), h("h2", {}, name),
    h("p", { class: "muted" }, `${moderator ? "Moderator, " : ""}${posts} ${posts === 1 ? "post" : "posts"}`)));
}

function drawPresent(names) {
  const box = show("present", h("p", { class: "live on", id: "live" }, "Here now, live"),
    h("ul", { class: "people" }, names.map((name) => h("li", {}, avatar(name, true), name))));
  box.hidden = !state.user;
}

function avatar(name = "?", small = false) {
  const hue = [...name].reduce((sum, letter) => sum + letter.codePointAt(0), 0) % 5;
  return h("span", { class: `avatar hue-${hue} ${small ? "small" : ""}`, "aria-hidden": "true" }, name.slice(0, 1).toUpperCase());
}

const isModerator = () => (state.user?.roles ?? []).some((role) => role === "moderator" || role === "admin");

function ago(seconds) {
  const minutes = Math.round((Date.now() / 1000 - seconds) / 60);
  const format = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
  if (minutes < 1) return "just now";
  if (minutes < 60) return format.format(-minutes, "minute");
  if (minutes < 60 * 24) return format.format(-Math.round(minutes / 60), "hour");
  return format.format(-Math.round(minutes / 60 / 24), "day");
}

whoAmI().then(route);
