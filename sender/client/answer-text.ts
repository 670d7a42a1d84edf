/** Texts of a receiver that a person is shown. */

const TEXT_LENGTH_MAX = 500;
/** In a list of them; a disk has up to 128 partitions. */
const TEXTS_MAX = 200;

/** Nothing that could steer a terminal, and not endless. */
export function printable(text: string): string {
  const start = text.slice(0, TEXT_LENGTH_MAX);
  // Control characters, marks that turn the direction of the text, halves of characters, and line separators.
  return start.replaceAll(/[\p{C}\p{Zl}\p{Zp}]/gu, '?');
}

/** {@link printable}; null for what is no text. */
export function textOrNull(value: unknown): string | null {
  return typeof value === 'string' ? printable(value) : null;
}

/** Those of a list that are texts, {@link printable}; none of what is no list. */
export function textsIn(value: unknown): string[] {
  if (!Array.isArray(value)) return [];
  const texts = value.filter((each: unknown) => typeof each === 'string');
  return texts.slice(0, TEXTS_MAX).map(printable);
}
