"""The contrast of text on a page in a browser, as WCAG 2.1 defines it."""

import re
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from playwright.sync_api import Page

READ = """all => [...new Set(all.map((one) => {
    const styles = [], color = getComputedStyle(one).color;
    for (let at = one; at; at = at.parentElement) {
        const { backgroundColor, opacity } = getComputedStyle(at);
        styles.unshift([backgroundColor, Number(opacity)]);
    }
    return JSON.stringify([color, styles]);
}))].map(JSON.parse)"""


def least(page: "Page", selector: str) -> float:
    """The least contrast of the text of these elements with what lies behind it; 1 is none, 21 the most."""
    found = page.locator(selector).evaluate_all(READ)
    return min(_ratio(*_seen(color, styles, np.ones(3))) for color, styles in found)


def _seen(color: str, styles: list[tuple[str, float]], under: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Text and its background as painted over `under`; the styles are those of the elements around it."""
    (paint, opacity), *inner = styles
    behind = _over(paint, under)
    text, behind = _seen(color, inner, behind) if inner else (_over(color, behind), behind)
    return opacity * text + (1 - opacity) * under, opacity * behind + (1 - opacity) * under


def _over(color: str, under: np.ndarray) -> np.ndarray:
    red, green, blue, *alpha = map(float, re.findall(r"[\d.]+", color))
    part = alpha[0] if alpha else 1
    return part * np.array([red, green, blue]) / 255 + (1 - part) * under


def _ratio(one: np.ndarray, other: np.ndarray) -> float:
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def _luminance(srgb: np.ndarray) -> float:
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])
