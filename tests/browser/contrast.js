// Texts of the article whose WCAG contrast with the nearest opaque background behind them is below 4.5.
() => {
  const channels = colour => {
    const numbers = (colour.match(/[\d.]+/g) || []).map(Number)
    return colour.startsWith('color(') ? numbers.map((v, i) => (i < 3 ? v * 255 : v)) : numbers
  }
  const linear = v => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4)
  const light = colour => {
    const [r, g, b] = channels(colour).map(linear)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
  }
  const behind = element => {
    for (let e = element; e; e = e.parentElement) {
      const colour = getComputedStyle(e).backgroundColor
      const alpha = channels(colour)[3]
      if (alpha === undefined || alpha > 0.9) return colour
    }
    return 'rgb(255, 255, 255)'
  }
  const found = new Set()
  const texts = document.createTreeWalker(document.querySelector('.bd-article'), NodeFilter.SHOW_TEXT)
  while (texts.nextNode()) {
    const text = texts.currentNode.data.trim()
    const element = texts.currentNode.parentElement
    if (!text || !element.offsetParent || element.closest('svg, script, style, .headerlink')) continue
    const [a, b] = [light(getComputedStyle(element).color), light(behind(element))]
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)
    if (ratio < 4.5) found.add(`${ratio.toFixed(1)}: ${text.slice(0, 40)}`)
  }
  return [...found]
}
