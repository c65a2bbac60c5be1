// The parts of a message's text: links that look like what they are, and code. Nothing else, in linear time.

import assert from "node:assert/strict";
import { test } from "node:test";
import { actionIn, parseText } from "#page/rich-text.js";

/** Return the parts of a text in short: text as it is, code as [code], links as [shown, address]. @param {string} text */
function parts(text) {
  return parseText(text).map((part) => {
    if (part.kind === "text") return part.shown;
    return part.kind === "code" ? [part.shown] : [part.shown, part.address];
  });
}

/** @param {string} address */
function link(address, href = address) {
  return [address, href];
}

test("an address within a sentence is a link, without the punctuation around it", () => {
  assert.deepEqual(parts("see https://example.org/a."), ["see ", link("https://example.org/a"), "."]);
  assert.deepEqual(parts("(https://example.org/a_(b))"), ["(", link("https://example.org/a_(b)"), ")"]);
  assert.deepEqual(parts("http://example.org?q=ü&x=1#y, ok"), [
    link("http://example.org?q=ü&x=1#y", "http://example.org/?q=%C3%BC&x=1#y"),
    ", ok",
  ]);
  assert.deepEqual(parts("HTTPS://Example.org/A"), [link("HTTPS://Example.org/A", "https://example.org/A")]);
  assert.deepEqual(parts("https://a.example\nhttps://b.example"), [
    link("https://a.example", "https://a.example/"),
    "\n",
    link("https://b.example", "https://b.example/"),
  ]);
});

test("what is no address of the web stays text", () => {
  const texts = [
    "javascript://x%0aalert(1)",
    "xhttps://example.org",
    "https://",
    "http://[",
    "ftp://example.org",
    "://",
    "a",
  ];
  for (const text of [...texts, "https:example.org", "www.example.org", ""]) {
    assert.deepEqual(parts(text), text === "" ? [] : [text]);
  }
});

test("an address that could deceive shows where it goes, or is no link", () => {
  assert.deepEqual(parts("https://аpple.com/"), [link("https://xn--pple-43d.com/")]); // a Cyrillic letter
  assert.deepEqual(parts("http://2130706433/"), [link("http://127.0.0.1/")]);
  assert.deepEqual(parts("https://bank.example@evil.example/"), ["https://bank.example@evil.example/"]);
  assert.deepEqual(
    parts("https://bank.example\\@evil.example/")[0],
    link("https://bank.example", "https://bank.example/"),
  );
  assert.deepEqual(parts("https://evil.example/\u202egro.knab"), [link("https://evil.example/"), "\u202egro.knab"]);
  assert.deepEqual(parts("https://evil.example/\u200b"), [link("https://evil.example/"), "\u200b"]);
  assert.deepEqual(parts("https://example.org/שלום"), [link("https://example.org/%D7%A9%D7%9C%D7%95%D7%9D")]);
});

test("code stands between two signs on one line", () => {
  assert.deepEqual(parts("run `a b`, or `c`"), ["run ", ["a b"], ", or ", ["c"]]);
  assert.deepEqual(parts("`https://example.org`"), [["https://example.org"]]);
  for (const text of ["one ` alone", "`two\nlines`", "``", "**bold** _it_ # h", "<b>&amp;</b>"]) {
    assert.deepEqual(parts(text), [text]);
  }
});

test("what somebody does", () => {
  assert.equal(actionIn("/me waves"), "waves");
  for (const text of ["/me", "/me  ", "/meow", "say /me waves"]) assert.equal(actionIn(text), null);
});

test("whatever was written, links go to the web, and the rest stands there in order", () => {
  const pieces = ["http://", "https://a", "`", "\n", "(", ")", ".", " ", "@", "\\", "\u202e", "x", "://", "ü"];
  let seed = 7;
  for (let round = 0; round < 3_000; round += 1) {
    let text = "";
    for (let piece = 0; piece < 12; piece += 1) {
      seed = (seed * 48_271) % 2_147_483_647;
      text += pieces[seed % pieces.length];
    }
    let at = 0;
    for (const part of parseText(text)) {
      if (part.kind === "link") {
        assert.ok(["http:", "https:"].includes(new URL(part.address).protocol), JSON.stringify(text));
        assert.ok(!part.shown.includes("\u202e") && new URL(part.address).username === "", JSON.stringify(text));
      } else {
        at = text.indexOf(part.shown, at);
        assert.ok(at >= 0, JSON.stringify(text));
        at += part.shown.length;
      }
    }
  }
});

test("texts that are made to take long end", () => {
  // Each of them would take hours if the time grew with the square of the length.
  const many = 1_000_000;
  for (const piece of ["x://", "http://[", "`\n", "`", "://", "http://a@", "(", "http://a.b/ "]) {
    const count = parseText(piece.repeat(many)).length;
    assert.ok(count > 0 && count < 1_000, piece);
  }
});
