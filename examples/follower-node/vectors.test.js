// The test vectors of the protocol page, run against this follower.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { Follower, clientEntry, eraEntry } from "./follower.js";

const vectors = JSON.parse(readFileSync(new URL("../../docs/protocol/vectors.json", import.meta.url)));

test("ids of clients", () => {
  assert.ok(vectors.clients.length > 0);
  for (const { client_id, id } of vectors.clients) assert.equal(clientEntry(client_id), id);
});

test("ids of tokens", () => {
  assert.ok(vectors.tokens.length > 0);
  for (const { sid, jti, era } of vectors.tokens) assert.equal(eraEntry(sid, jti), era);
});

for (const { name, steps } of vectors.histories) {
  test(name, () => {
    const follower = new Follower();
    const questions = [];
    for (const step of steps) {
      if (step.ask) {
        const question = follower.ask(step.at);
        questions.push(question.question);
        for (const name of ["cursor", "last_answer", "node"]) assert.equal(question[name] ?? null, step.ask[name] ?? null);
      } else if (step.hear) {
        const answer = { ...step.hear, question: questions[Number(step.hear.question.slice(2)) - 1] };
        assert.equal(follower.hear(answer) ? "applied" : "dropped", step.is);
      } else if (step.check) {
        assert.equal(follower.standing(step.check, step.at), step.is);
        if (step.server_time_ms) assert.equal(follower.serverTime(step.at), step.server_time_ms);
      } else if (step.elsewhere) {
        for (let times = 0; times < step.elsewhere; times++) follower.elsewhere();
      } else if (step.unanswered) {
        follower.forgetNode();
      } else {
        follower.rename();
      }
    }
  });
}
