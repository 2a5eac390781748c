// The shop: a shelf, a cart for everybody, a checkout for who has logged in.

import express from "express";
import { becomes } from "./login.js";

const GOODS = { tea: "Tea bowl", lamp: "Moon lamp", bell: "Wind bell" };

const escaped = (text) => String(text).replace(/[&<>"']/g, (it) => `&#${it.charCodeAt(0)};`);

export function shop({ instance, login }) {
  const logout = login === "sidecar" ? "/_symbolon/logout?next=/" : "/logout";
  const router = express.Router();

  // Behind the sidecar the login came and went without the shop: its own session follows.
  router.use(async (request, _, next) => {
    if (login === "sidecar") {
      const { subject, session } = request.symbolon ?? {};
      const who = subject && { sub: subject, sid: session, name: subject };
      if (request.session.who?.sid !== who?.sid) await becomes(request, who);
      request.who = who;
    }
    next();
  });

  router.get("/", ({ session, who }, response) => {
    const button = (id, action, label) => `<form id="${id}" method="post" action="${action}"><button>${label}</button></form>`;
    const shelf = Object.entries(GOODS).map(([id, name]) => `<li>${name} ${button(`put-${id}`, `/cart/${id}`, "Put into the cart")}</li>`);
    const cart = Object.entries(session.cart ?? {}).map(([id, count]) => `<li>${count} × ${GOODS[id]}</li>`);
    response.set("cache-control", "no-store").send(`<!doctype html><html lang="en"><meta charset="utf-8"><title>Shop</title>
<h1>Shop</h1><ul>${shelf.join("")}</ul><h2>Cart</h2><ul id="cart">${cart.join("")}</ul>
<p><a href="/checkout">Check out</a></p>
${who ? `<p id="who">${escaped(who.name)}</p>${button("logout-form", logout, "Log out")}` : `<p><a href="/checkout">Log in</a></p>`}
<p>Answered by instance <span id="instance">${instance}</span></p></html>`);
  });

  router.post("/cart/:id", ({ session, params }, response) => {
    if (!Object.hasOwn(GOODS, params.id)) return response.status(404).send("There is no such thing.");
    session.cart = { ...session.cart, [params.id]: (session.cart?.[params.id] ?? 0) + 1 };
    // Saved before the browser goes on, and perhaps to another instance.
    session.save((error) => (error ? response.status(error.status ?? 500).send("Try again.") : response.redirect(303, "/")));
  });

  // Behind the sidecar a rule keeps others out of here.
  router.get("/checkout", ({ who, session }, response) => {
    if (!who) return response.redirect(303, "/login");
    const count = Object.values(session.cart ?? {}).reduce((sum, it) => sum + it, 0);
    response.set("cache-control", "no-store").json({ sub: who.sub, count, instance });
  });

  return router;
}
