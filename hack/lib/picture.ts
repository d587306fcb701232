// What a terminal showed, as an SVG: text on a dark card, so that it reads the same on a light and on a dark page.

const size = 13; // px
const advance = size * 0.602; // of one character in the usual monospace fonts
const line = size * 1.4;
const margin = 18;

/** The SGR codes that we use, as CSS. */
const styles: Record<string, string> = {
  1: "font-weight:bold",
  2: "fill:#8b949e",
  31: "fill:#ff7b72",
  32: "fill:#7ee787",
  33: "fill:#e3b341",
  34: "fill:#79c0ff",
  35: "fill:#d2a8ff",
  36: "fill:#76e3ea",
  90: "fill:#8b949e",
};

/** @param screen lines of text, with or without SGR colours (`ESC [ ... m`) */
export function pictureOf(screen: string): string {
  const lines = screen.split("\n");
  const columns = Math.max(...lines.map((text) => Bun.stringWidth(text)));
  const width = Math.ceil(columns * advance + 2 * margin);
  const height = Math.ceil(lines.length * line + 2 * margin);
  const rows = lines.map((text, n) => {
    // textLength holds the columns together, whatever font the reader has.
    const length = (Bun.stringWidth(text) * advance).toFixed(1);
    const y = (margin + n * line + size).toFixed(1);
    return text === ""
      ? ""
      : `<text x="${margin}" y="${y}" textLength="${length}" xml:space="preserve">${spans(text)}</text>\n`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img">
<title>hack/demo in a terminal</title>
<rect width="100%" height="100%" rx="8" fill="#161b22"/>
<g font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace" font-size="${size}" fill="#e6edf3">
${rows.join("")}</g>
</svg>
`;
}

function spans(text: string): string {
  const [plain, ...coloured] = text.split("\x1b[");
  const parts = coloured.map((part) => {
    const end = part.indexOf("m");
    // A code that we do not know (0, 22, 39) ends what was begun; nothing that we print is nested.
    const style = part
      .slice(0, end)
      .split(";")
      .flatMap((code) => styles[code] ?? []);
    const inner = Bun.escapeHTML(part.slice(end + 1));
    return style.length === 0 || inner === "" ? inner : `<tspan style="${style.join(";")}">${inner}</tspan>`;
  });
  return Bun.escapeHTML(plain!) + parts.join("");
}
