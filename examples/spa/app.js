// The page: who is logged in, and three buttons.

import { begin, claims, finish, leave, refresh, userinfo } from "./login.js";
import { Tabs } from "./tabs.js";

const at = (id) => document.getElementById(id);
const say = (what) => (at("said").textContent = what);

let current = null;
const tabs = new Tabs({ refresh, changed: show });

function show(tokens) {
  current = tokens;
  at("who").textContent = tokens ? `logged in as ${claims(tokens.id_token).sub}` : "nobody is logged in";
  at("login").hidden = Boolean(tokens);
  at("call").hidden = at("logout").hidden = !tokens;
}

at("login").onclick = () => begin();
at("logout").onclick = () => {
  const tokens = current;
  tabs.set(null);
  leave(tokens);
};
at("call").onclick = async () => {
  const token = await tabs.accessToken();
  const who = token && (await userinfo(token));
  if (token && !who) tabs.set(null);
  say(JSON.stringify(who));
};

try {
  const isBack = location.pathname === "/callback";
  const arrived = isBack ? await finish() : null;
  let tokens = await tabs.start();
  if (arrived) tabs.set((tokens = arrived));
  // A reload has forgotten the tokens, and the server knows the browser: nobody is asked, once.
  else if (!tokens && !isBack && !sessionStorage.getItem("asked")) {
    sessionStorage.setItem("asked", "1");
    await begin({ prompt: "none" });
  }
  sessionStorage.removeItem("asked");
  show(tokens);
} catch (error) {
  show(null);
  say(String(error));
}
