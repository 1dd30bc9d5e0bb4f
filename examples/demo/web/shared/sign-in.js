// How both sign-in forms behave. What they send, and how, is each app's own affair.

import { h, toast } from "./dom.js";

const USERS = [
  ["alice", "wonderland", "administrator"],
  ["bob", "builder", "customer"],
  ["carol", "moderato", "moderator"],
];

/** The form. `send(username, password)` signs in, and throws a Problem if that fails. */
export function signInForm({ title, text, send, done }) {
  const error = h("p", { class: "form-error", role: "alert", hidden: true });
  const username = h("input", { id: "username", name: "username", autocomplete: "username", autocapitalize: "none", spellcheck: "false", required: true });
  const password = h("input", { id: "password", name: "password", type: "password", autocomplete: "current-password", required: true });
  const button = h("button", { class: "primary", type: "submit" }, "Sign in");
  const submit = async (event) => {
    event.preventDefault();
    // Not `disabled`: that would take the focus away.
    if (button.getAttribute("aria-disabled") === "true") return;
    error.hidden = true;
    button.setAttribute("aria-disabled", "true");
    button.textContent = "Signing in …";
    try {
      const user = await send(username.value, password.value);
      done(user);
      toast(`Welcome, ${user.name || username.value}. You are signed in.`, "good");
    } catch (problem) {
      error.textContent =
        problem.code === "invalid_credentials" ? "User name or password is wrong. Please try again." : problem.message;
      error.hidden = false;
      password.value = "";
      password.focus();
    } finally {
      button.removeAttribute("aria-disabled");
      button.textContent = "Sign in";
    }
  };
  const chips = USERS.map(([name, secret, role]) =>
    h("button", {
      type: "button",
      class: "chip",
      title: `Fill in ${name}'s user name and password`,
      onclick: () => {
        username.value = name;
        password.value = secret;
        button.focus();
      },
    }, h("strong", {}, name), ` ${role}`));
  return h("form", { class: "sign-in", onsubmit: submit, "aria-labelledby": "sign-in-title" },
    h("h2", { id: "sign-in-title" }, title),
    h("p", { class: "muted" }, text),
    h("label", { for: "username" }, "User name"), username,
    h("label", { for: "password" }, "Password"), password,
    error, button,
    h("div", { class: "demo-users" }, h("span", { class: "muted" }, "Demo users"), h("div", { class: "chips" }, chips)));
}
