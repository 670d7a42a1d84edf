/**
 * The ticket, one string for all that a sender needs: `https://host:port/#pin=<pin>&token=<token>`. Pin and
 * token stand in the fragment, which no client ever sends.
 */
import assert from 'node:assert/strict';
import { hash, type KeyObject } from 'node:crypto';
import { TransferError } from '../errors.ts';
import { parseToken } from './token.ts';

export interface Ticket {
  /** `https://host:port`, without the port where it is 443. */
  readonly origin: string;
  /** Name or address; an IPv6 address without brackets. */
  readonly host: string;
  readonly port: number;
  /** See {@link isPin}. */
  readonly pin: string;
  readonly token: string;
}

const PIN = /^sha256\/\/([A-Za-z0-9+/]{43}=)$/;
const HINT_COPY = 'copy the whole line that ddt-receive printed after "ticket:"';
const HINT_QUOTE = "put the whole ticket between single quotes: ddt-send <source> 'https://…#pin=…&token=…'";

/** Whether this is a pin as curl's `--pinnedpubkey` has it: `sha256//` and base64 of the 32 bytes. */
export function isPin(text: string): boolean {
  const [, base64] = PIN.exec(text) ?? [];
  return base64 !== undefined && Buffer.from(base64, 'base64').toString('base64') === base64;
}

/** The pin of a public key: SHA-256 over its SubjectPublicKeyInfo in DER (RFC 5280 section 4.1.2.7). */
export function pinOfPublicKey(key: KeyObject): string {
  return `sha256//${hash('sha256', key.export({ type: 'spki', format: 'der' }), 'base64')}`;
}

/**
 * The pin is written raw, so that it can be copied from the ticket to curl: `+`, `/` and `=` are legal in a
 * fragment (RFC 3986 section 3.5). Reading takes percent-encoded ones too, for some programs rewrite what
 * they show.
 */
export function formatTicket(ticket: Omit<Ticket, 'origin'>): string {
  assert(isPin(ticket.pin), 'a well-formed pin');
  const host = ticket.host.includes(':') ? `[${ticket.host}]` : ticket.host;
  return `https://${host}:${ticket.port}/#pin=${ticket.pin}&token=${ticket.token}`;
}

/**
 * White space around the ticket is ignored, and so are line breaks in it with the blanks around them: copied
 * from a narrow terminal it is wrapped. Unknown names in the fragment are ignored: a later version may add
 * some.
 * @throws TransferError `usage`, which says what is wrong and shows nothing of the ticket.
 */
export function parseTicket(text: string): Ticket {
  const lines = text.split(/[\r\n]+/);
  const joined = lines.map((line) => line.trim()).join('');
  const url = parseAddress(joined);
  if (url.hash === '') refuse('everything from "#" on is missing');
  // Not URLSearchParams: it would turn the plus signs of a pin into blanks.
  const parameters = parseFragment(url.hash.slice(1));
  const pin = parameters.get('pin');
  const token = parameters.get('token');
  if (pin === undefined) refuse('its pin is missing');
  if (!isPin(pin)) refuse('its pin is damaged or cut short');
  if (token === undefined) refuse('its token is missing, as when a shell cuts the line at "&"');
  if (parseToken(token) === undefined) refuse('its token is damaged or cut short');
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  return { origin: url.origin, host, port: url.port === '' ? 443 : Number(url.port), pin, token };
}

/** Messages here never quote the text, and have no cause: the errors of URL carry their whole input. */
function refuse(reason: string, hint: string = HINT_QUOTE): never {
  throw new TransferError('usage', `cannot read the ticket: ${reason}`, { hint });
}

function parseAddress(text: string): URL {
  if (text === '') refuse('it is empty', HINT_COPY);
  if (/^ddt1\./i.test(text)) refuse('it is only a token, without an address and a pin', HINT_COPY);
  if (/^http:\/\//i.test(text)) refuse('it starts with http://, but there is no plain mode', HINT_COPY);
  if (!/^https:\/\//i.test(text)) refuse('it does not start with https://', HINT_COPY);
  if (/\s/.test(text)) refuse('there is a blank in it', HINT_COPY);
  if (text.includes('\\')) refuse('there is a backslash in it, as some shells add when pasting');
  const url = URL.parse(text);
  if (url === null || url.port === '0') refuse('its host or port is not valid', HINT_COPY);
  if (url.username !== '' || url.password !== '') refuse('there is a user name in its address', HINT_COPY);
  if (url.search !== '') refuse('there is a "?" in its address; pin and token stand behind "#"', HINT_COPY);
  if (url.pathname !== '/') refuse('there is a path in its address', HINT_COPY);
  return url;
}

function parseFragment(fragment: string): Map<string, string> {
  const parameters = new Map<string, string>();
  for (const piece of fragment.split('&')) {
    const [name = ''] = piece.split('=', 1);
    if (parameters.has(name)) refuse('one of its parts stands there twice', HINT_COPY);
    parameters.set(name, decodePercent(piece.slice(name.length + 1)));
  }
  return parameters;
}

function decodePercent(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return refuse('its percent-encoding is damaged', HINT_COPY);
  }
}
