/** Texts of both commands, made safe to print. Pure. */
import type { TransferError } from './errors.ts';

const TOKEN_LIKE = /ddt1(?:\.|%2e)[\w.%-]+/gi;

/** Replaces everything that looks like a token, whole or cut, by `ddt1.…`. */
export function redact(text: string): string {
  return text.replace(TOKEN_LIKE, 'ddt1.…');
}

/** @returns `<command>: error: …`, and `<command>: hint: …` if there is one: whole lines without secrets. */
export function failureText(command: string, { message, hint }: TransferError): string {
  const lines = [`${command}: error: ${redact(message)}`];
  if (hint !== undefined) lines.push(`${command}: hint: ${redact(hint)}`);
  return `${lines.join('\n')}\n`;
}
