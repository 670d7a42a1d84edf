/** What both commands print, in one form and safe to print. Pure. */
import type { TransferError } from './errors.ts';

const UNPRINTABLE = /[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/gu;
const TOKEN_LIKE = /ddt1(?:\.|%2e)[\w.%-]+/gi;

/** The text with everything that looks like a token, whole or in part, replaced by `ddt1.…`. */
export function redact(text: string): string {
  return text.replace(TOKEN_LIKE, 'ddt1.…');
}

/**
 * Safe to show: text from the other side, from a disk, or from the operator, in a log, on a terminal, in a
 * receipt. Each character that is invisible, moves the cursor, turns the direction of text around or begins a
 * new line is replaced by a mark, as is half of a surrogate pair.
 */
export function printable(text: string, mark = '?'): string {
  return text.replaceAll(UNPRINTABLE, mark);
}

/** @returns `<command>: error: …`, and `<command>: hint: …` if there is one; whole lines, no secrets. */
export function failureText(command: string, { message, hint }: TransferError): string {
  const lines = [`${command}: error: ${printable(redact(message))}`];
  if (hint !== undefined) lines.push(`${command}: hint: ${printable(redact(hint))}`);
  return `${lines.join('\n')}\n`;
}

/**
 * A path of the other machine, for a command that somebody may copy: never one that a shell would read as
 * more than a path. @returns `<placeholder>` instead of any other.
 */
export function pathToType(path: string, placeholder: string): string {
  return /^\/[\w./:@%+,=-]*$/.test(path) ? path : `<${placeholder}>`;
}

/** In quotes, for any POSIX shell. */
export function shellQuoted(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

/** A word as a shell takes it, in quotes where it needs them. */
export function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : shellQuoted(text);
}
