// The entry point of the page, which index.html loads. No other module of the page does anything when it is imported.

import { App } from "./app.js";
import { findElements } from "./elements.js";

new App(findElements()).start();
