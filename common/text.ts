/** What both commands print, in one form and safe to print. Pure. */
import type { TransferError } from './errors.ts';

const TOKEN_LIKE = /ddt1(?:\.|%2e)[\w.%-]+/gi;

/** The text with everything that looks like a token, whole or in part, replaced by `ddt1.…`. */
export function redact(text: string): string {
  return text.replace(TOKEN_LIKE, 'ddt1.…');
}

/** Lines of text, with whatever could control a terminal or turn the direction of text replaced by `?`. */
export function withoutControls(text: string): string {
  return text.replace(/(?!\n)[\p{C}\p{Zl}\p{Zp}]/gu, '?');
}

/** @returns `<command>: error: …`, and `<command>: hint: …` if there is one; whole lines, no secrets. */
export function failureText(command: string, { message, hint }: TransferError): string {
  const lines = [`${command}: error: ${redact(message)}`];
  if (hint !== undefined) lines.push(`${command}: hint: ${redact(hint)}`);
  return `${lines.join('\n')}\n`;
}
