// A panel that modules make themselves for a link: to read it, to scan it, to copy it, and to share it by the device.

import { button, create, labelled } from "./dom.js";
import { t } from "./i18n.js";
import { SharePanel } from "./share-panel.js";

/**
 * Return the panel.
 *
 * @param {string} link with its secrets
 * @param {string} label of the field with the link
 */
export function linkPanel(link, label) {
  const field = create("input", { value: link, readOnly: true, dir: "ltr" });
  field.addEventListener("focus", () => field.select());
  const code = create("div", { className: "code", hidden: true });
  code.setAttribute("role", "img");
  code.setAttribute("aria-label", t("share.code"));
  const copy = button(t("share.copy"), () => {}, "copy");
  const send = button(t("share.share"), () => {}, "send quiet");
  const problem = create("p", { className: "problem", hidden: true });
  problem.setAttribute("role", "alert");
  const onlyHere = create("p", { className: "only-here", hidden: true, textContent: t("share.onlyHere") });
  new SharePanel({ code, onlyHere, copy, send }, () => {
    problem.hidden = false;
    problem.textContent = t("share.byHand");
    field.focus();
  }).show(link);
  const buttons = create("div", { className: "row" }, copy, send);
  return create("div", { className: "share-panel" }, onlyHere, code, labelled(label, field), problem, buttons);
}
