// The texts of all languages: the same keys, the same values in braces, and the plural forms that each language has.

import assert from "node:assert/strict";
import { test } from "node:test";
import { duration, list, LANGUAGES, loadTexts, setLanguage, t } from "#page/i18n.js";

const english = await loadTexts("en");

/** @param {string | Page.Plural} text */
const forms = (text) => (typeof text === "string" ? { other: text } : text);

/** @param {string} text */
const values = (text) => [...text.matchAll(/\{\w+\}/g)].map(([value]) => value).sort();

for (const language of LANGUAGES) {
  test(`the texts of ${language}`, async () => {
    const texts = await loadTexts(language);
    assert.deepEqual(Object.keys(texts), Object.keys(english));
    const categories = new Intl.PluralRules(language).resolvedOptions().pluralCategories;
    for (const [section, named] of Object.entries(english)) {
      assert.deepEqual(Object.keys(texts[section]), Object.keys(named));
      for (const [name, original] of Object.entries(named)) {
        const text = texts[section][name];
        const key = `${section}.${name}`;
        assert.equal(typeof text, typeof original, key);
        if (typeof text !== "string") assert.deepEqual(Object.keys(text).sort(), [...categories].sort());
        for (const [category, form] of Object.entries(forms(text))) {
          assert.ok(form.trim() === form && form !== "", key);
          // One or two of something may be said without the number.
          const missing = values(forms(original).other).filter((value) => !values(form).includes(value));
          const isWord = ["zero", "one", "two"].includes(category);
          assert.deepEqual(isWord ? missing.filter((value) => value !== "{count}") : missing, []);
          assert.ok(
            values(form).every((value) => values(forms(original).other).includes(value)),
            key,
          );
        }
      }
    }
  });
}

test("numbers, durations and enumerations are those of the language", async () => {
  setLanguage("de-DE", await loadTexts("de"));
  assert.equal(t("people.count", { count: 1234 }), "1.234 Leute");
  assert.equal(duration(7200), "2 Stunden");
  assert.equal(list(["Ana", "Ben", "Cleo"]), "Ana, Ben und Cleo");
  setLanguage("ar-EG", await loadTexts("ar"));
  assert.equal(t("people.count", { count: 2 }), "شخصان");
  assert.equal(t("people.count", { count: 11 }), "١١ شخصًا");
});
