// Who is signed in: both pages ask the gateway, notice the end of the session, and sign out in the same way.

import { api } from "./api.js";
import { focusOn, toast } from "./dom.js";
import { setUser } from "./flow.js";

const ENDED = "Your session has ended. Please sign in again.";

/**
 * The session of a page. `state.user` is the user who is signed in, or null. `signedIn(user)` and `signedOut(message)`
 * change the page, `route()` draws it again.
 */
export function pageSession({ state, signedIn, signedOut, route }) {
  /** Runs an action that may find out that the session has ended. */
  async function attempt(action) {
    try {
      return await action();
    } catch (problem) {
      if (problem.signedOut) signedOut(problem.code === "session_expired" ? ENDED : "Please sign in first.");
      else toast(problem.message, "bad");
      return undefined;
    }
  }

  /** Asks the gateway who is signed in. */
  async function whoAmI() {
    try {
      await signedIn(await api("GET", "/api/user"));
    } catch (problem) {
      if (problem.status === 404 || problem.status === 401) signedOut(problem.code === "session_expired" ? ENDED : "");
      else {
        // Whoever was signed in may still be.
        setUser(undefined);
        toast(problem.message, "bad");
      }
    }
  }

  /** Asks again: another page of this browser may have signed in or out meanwhile. */
  async function askWho() {
    const before = state.user?.sub;
    await whoAmI();
    if (state.user?.sub !== before) route();
  }

  /** Signs out, and returns whether that went well: without an answer, the session goes on. */
  async function signOut() {
    try {
      await api("POST", "/api/logout");
    } catch (problem) {
      toast(`You are still signed in: ${problem.message}`, "bad");
      return false;
    }
    signedOut("");
    toast("You are signed out.");
    focusOn(document.getElementById("side"));
    return true;
  }

  window.addEventListener("hashchange", route);
  document.addEventListener("visibilitychange", () => !document.hidden && askWho());
  return { attempt, whoAmI, askWho, signOut };
}
