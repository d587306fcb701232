/** An exact count: 1,234,567. */
export function count(value: number): string {
  return value.toLocaleString("en");
}

/** A rounded number of bytes: 1.2 MB. */
export function bytes(value: number): string {
  const units = ["B", "kB", "MB", "GB"];
  const unit = Math.min(Math.floor(Math.log10(Math.max(value, 1)) / 3), units.length - 1);
  return `${(value / 1000 ** unit).toFixed(unit === 0 ? 0 : 1)} ${units[unit]}`;
}
