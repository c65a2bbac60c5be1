// The texts of the modules for signing in: all languages of the page have all of them, and none is left in English.

import assert from "node:assert/strict";
import { test } from "node:test";
import { TEXTS as guest } from "#guest/guest.js";
import { TEXTS as oidc } from "#oidc/texts.js";
import { LANGUAGES } from "#page/i18n.js";
import { codesLeft, TEXTS as passkey } from "#passkey/texts.js";
import { FAILURE_TEXTS as failures } from "#worldid/failure-texts.js";
import { TEXTS as worldid } from "#worldid/texts.js";

/** @param {unknown} text */
function written(text) {
  if (typeof text === "function") return [text("{one}", "{two}")];
  return typeof text === "string" ? [text] : Object.values(/** @type {Record<string, string>} */ (text));
}

for (const [module, texts] of Object.entries({ guest, oidc, passkey, worldid, failures })) {
  test(`the texts of ${module}`, () => {
    assert.deepEqual(Object.keys(texts).sort(), [...LANGUAGES].sort());
    const english = Object.entries(texts.en);
    for (const language of LANGUAGES.filter((one) => one !== "en")) {
      assert.deepEqual(Object.keys(texts[language]), Object.keys(texts.en), language);
      for (const [name, original] of english) {
        const own = written(/** @type {Record<string, unknown>} */ (texts[language])[name]);
        assert.ok(own.length > 0 && own.every((text) => text.trim() !== ""), `${language}: ${name}`);
        assert.ok(!own.some((text) => written(original).includes(text)), `${language}: ${name} is in English`);
        if (language === "ar")
          assert.ok(
            own.every((text) => /[\u0621-\u064a]/.test(text)),
            `${language}: ${name}`,
          );
      }
    }
  });
}

test("the number of recovery codes is written as the language has it", () => {
  assert.equal(codesLeft({ language: "en" }, 1), "You have 1 recovery code.");
  assert.equal(codesLeft({ language: "de" }, 8), "Du hast 8 Wiederherstellungscodes.");
  assert.equal(codesLeft({ language: "ar" }, 2), "لديك رمزا استرداد.");
  assert.equal(codesLeft({ language: "de" }, 0), "Du hast keine Wiederherstellungscodes.");
});
