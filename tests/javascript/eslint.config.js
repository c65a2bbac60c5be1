// The rules for the JavaScript of this repository beside types and format. Run ESLint from the top of the repository.

import js from "@eslint/js";
import globals from "globals";

const MARKUP = [
  ...["innerHTML", "outerHTML", "insertAdjacentHTML"].map((property) => ({ property })),
  { object: "document", property: "write" },
].map((what) => ({ ...what, message: "Put content into the page as text, never as markup" }));

const LOOKUPS = [
  "getElementById",
  "getElementsByClassName",
  "getElementsByName",
  "getElementsByTagName",
  "querySelector",
  "querySelectorAll",
].map((property) => ({ property, message: "Only elements.js of the page looks elements up; pass them on" }));

/** The declarations of a module. What is within functions and classes is created by their callers. */
const TOP = ":matches(Program, Program > ExportNamedDeclaration) > VariableDeclaration";
const MUTABLE = "State belongs to an object that the entry point creates, not to the import of a module";
const STATE = [
  { selector: `${TOP}[kind!='const']`, message: MUTABLE },
  { selector: `${TOP} NewExpression`, message: MUTABLE },
  { selector: `${TOP} AwaitExpression`, message: MUTABLE },
  {
    selector: `${TOP} CallExpression:not([callee.object.name='Object'][callee.property.name='freeze'])`,
    message: "An import must not call anything but Object.freeze",
  },
  {
    selector: `${TOP} > VariableDeclarator > :matches(ArrayExpression, ObjectExpression)`,
    message: "Freeze constants",
  },
  {
    selector: `${TOP} > VariableDeclarator > :matches(ArrowFunctionExpression, FunctionExpression, ClassExpression)`,
    message: "Declare functions and classes of a module as such",
  },
  { selector: "PropertyDefinition[static=true]", message: MUTABLE },
  { selector: "StaticBlock", message: MUTABLE },
];
const STATEMENTS = {
  selector:
    "Program > :not(ImportDeclaration, ExportNamedDeclaration, ExportDefaultDeclaration, VariableDeclaration, FunctionDeclaration, ClassDeclaration)",
  message: "Only an entry point does something when it is imported",
};
const DEFAULT = {
  selector: "Program > ExportDefaultDeclaration > :matches(NewExpression, CallExpression, AwaitExpression)",
  message: "Only an entry point creates an object when it is imported",
};
const IDS = {
  selector: ":matches(Property[key.name='id'], AssignmentExpression > MemberExpression.left[property.name='id'])",
  message: "Only the module with the forms of a plugin gives ids to elements",
};

const PAGES = ["transports/**/static/**/*.js", "plugins/**/static/**/*.js"];

export default [
  { ignores: ["**/node_modules/**", ".venv/**", "**/static/vendor/**"] },
  js.configs.recommended,
  {
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      eqeqeq: "error",
      "no-var": "error",
      "prefer-const": "error",
      "no-implicit-globals": "error",
      "no-eval": "error",
      "no-implied-eval": "error",
      "no-new-func": "error",
      "no-promise-executor-return": ["error", { allowVoid: true }],
      "no-unused-private-class-members": "error",
      "no-shadow": "error",
      "object-shorthand": "error",
      "prefer-template": "error",
    },
  },
  {
    files: [...PAGES, "tests/e2e/**/*.js", "tests/javascript/unit/*.js"],
    languageOptions: { globals: globals.browser },
    rules: { "no-restricted-properties": ["error", ...MARKUP] },
  },
  {
    files: PAGES,
    ignores: ["transports/**/static/elements.js"],
    rules: { "no-restricted-properties": ["error", ...MARKUP, ...LOOKUPS] },
  },
  {
    files: PAGES,
    rules: { "no-restricted-syntax": ["error", ...STATE, STATEMENTS, DEFAULT, IDS] },
  },
  {
    // The entry points of pages. They start their page when they are imported.
    files: ["transports/**/static/chat.js", "plugins/*/oidc/static/callback.js"],
    rules: { "no-restricted-syntax": ["error", ...STATE, DEFAULT, IDS] },
  },
  {
    // The language of the page is chosen once, before anything is drawn, and all modules write in it.
    files: ["transports/**/static/i18n.js"],
    rules: { "no-restricted-syntax": ["error", STATEMENTS, DEFAULT, IDS] },
  },
  {
    // Texts alone.
    files: ["transports/**/static/locales/*.js"],
    rules: { "no-restricted-syntax": ["error", ...STATE, STATEMENTS, IDS] },
  },
  {
    // The service worker, which is a script of its own.
    files: ["transports/**/static/service-worker.js"],
    languageOptions: { sourceType: "script", globals: globals.serviceworker },
    rules: { "no-restricted-syntax": "off", "no-implicit-globals": "off" },
  },
  {
    // A program of Node.
    files: ["transports/**/static/client/driver.js"],
    rules: { "no-restricted-syntax": ["error", DEFAULT] },
  },
  {
    // The entry point of a plugin: a sign-in module, whose default export has state.
    files: ["plugins/*/worldid/static/worldid.js"],
    rules: { "no-restricted-syntax": ["error", ...STATE, STATEMENTS, IDS] },
  },
  {
    // Its ids are those of passkeys.
    files: ["plugins/*/passkey/static/ceremonies.js"],
    rules: { "no-restricted-syntax": ["error", ...STATE, STATEMENTS, DEFAULT] },
  },
  {
    files: ["plugins/*/guest/static/guest.js", "plugins/*/worldid/static/sign-in-forms.js"],
    rules: { "no-restricted-syntax": ["error", ...STATE, STATEMENTS, DEFAULT] },
  },
  {
    files: ["tests/benchmarks/**/*.js"],
    languageOptions: { sourceType: "commonjs", globals: globals.node },
  },
];
