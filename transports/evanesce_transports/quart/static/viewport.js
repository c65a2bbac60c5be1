// The keyboard of the screen in browsers that put it over the page, as those of iOS do: the page ends above it.

/**
 * Let an element be as high as what the keyboard leaves of the window.
 *
 * @param {HTMLElement} element
 * @param {VisualViewport | null} viewport
 */
export function followKeyboard(element, viewport) {
  const update = () => {
    const { height, scale } = /** @type {VisualViewport} */ (viewport);
    const isCovered = scale === 1 && height < innerHeight - 1; // else the user has zoomed in
    element.style.height = isCovered ? `${height}px` : "";
    if (isCovered) scrollTo(0, 0); // the browser has moved the page to show the field, which is seen now
  };
  viewport?.addEventListener("resize", update);
  viewport?.addEventListener("scroll", update);
}
