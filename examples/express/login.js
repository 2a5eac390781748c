// Who somebody is changes: another session id, so that one that was planted or noted before is worth nothing.

const CART = "cart.";

/** One value for each thing in the cart: requests at the same time that add different things do not lose each other's. */
export const cartOf = (session) => Object.fromEntries(Object.entries(session).filter(([key]) => key.startsWith(CART)));
export const inCart = (id) => CART + id;

/** `who` ({ sid, sub, name }) has logged in, or (undefined) nobody is logged in any more. */
export async function becomes(request, who) {
  const before = request.session;
  request.login = who;
  await new Promise((done, failed) => before.regenerate((error) => (error ? failed(error) : done())));
  if (!who) return;
  request.session.who = who;
  // The cart of somebody who was nobody yet comes along, and so does one's own.
  if ((before.who?.sub ?? who.sub) === who.sub) Object.assign(request.session, cartOf(before));
}

/** Writes now: what a browser does after a redirect must find it. */
export const save = ({ session }) => new Promise((done, failed) => session.save((error) => (error ? failed(error) : done())));
