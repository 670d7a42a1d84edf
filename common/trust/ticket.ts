/**
 * The ticket, all that a sender needs in one string: `https://host:port/#pin=<pin>&token=<token>`. Pin and
 * token are in the fragment, which HTTP clients never send. A public ticket has no secret: instead of a token
 * it has what one is made of, and the receiver's key, for senders who sign a token of their own.
 */
import assert from 'node:assert/strict';
import { hash, type KeyObject } from 'node:crypto';
import { TransferError } from '../errors.ts';
import { formatHostPort } from '../host-port.ts';
import { fingerprintOf, isFingerprint } from './ssh-signature.ts';
import { parseToken } from './token.ts';

export interface Place {
  /** `https://host:port`. */
  readonly origin: string;
  /** Name or address; an IPv6 address without brackets. */
  readonly host: string;
  readonly port: number;
  /** See {@link isPin}. */
  readonly pin: string;
}

export interface Ticket extends Place {
  readonly token: string;
  /** Fingerprint of the key that signs receipts; undefined where it is the one that signed the token. */
  readonly receiver?: string;
}

export interface PublicTicket extends Place {
  readonly transferId: string;
  /** Fingerprint of the key that signs receipts. */
  readonly receiver: string;
}

const PIN = /^sha256\/\/([A-Za-z0-9+/]{43}=)$/;
const HTTPS_PORT = 443;
const HINT_COPY = 'copy the whole line that ddt-receive printed after "ticket:"';
const HINT_IDENTITY = "name your ssh key: ddt-send --identity ~/.ssh/id_ed25519 <source> '<ticket>'";
const HINT_NO_IDENTITY = 'leave --identity out; it is for what ddt-receive --allow-signers prints';
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const HINT_QUOTE = "put the whole ticket in single quotes: ddt-send <source> 'https://…#pin=…&token=…'";
/** White space, and the characters without a width that some programs put into long lines. */
const BLANKS = /[\s\u200B\u2060]+/gu;

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
 * The pin is not encoded, so that it can be copied from the ticket to curl: `+`, `/` and `=` are legal in a
 * fragment (RFC 3986 section 3.5). {@link parseTicket} takes percent-encoded ones too: some programs rewrite
 * the URLs that they show.
 */
export function formatTicket(ticket: Omit<Ticket, 'origin'>): string {
  assert(isPin(ticket.pin), 'a well-formed pin');
  return `https://${formatHostPort(ticket.host, ticket.port)}/#pin=${ticket.pin}&token=${ticket.token}`;
}

/** In the form of {@link formatTicket}. */
export function formatPublicTicket(ticket: Omit<PublicTicket, 'origin'>): string {
  const { host, port, pin, transferId, receiver } = ticket;
  assert(isPin(pin) && UUID.test(transferId) && isFingerprint(receiver), 'well-formed parts');
  return `https://${formatHostPort(host, port)}/#pin=${pin}&transfer=${transferId}&key=${receiver}`;
}

/** Whether somebody means a ticket with this, whole or not: no disk and no file is named so. */
export function looksLikeTicket(text: string): boolean {
  return /^[\s'"]*((public )?ticket( for [^]*)?:|https?:\/\/|ddt1\.)/i.test(text);
}

/**
 * Takes what people paste: the ticket, with quotes around it, the `ticket:` or `ticket for /dev/vdb:` that
 * ddt-receive prints before it, or the whole command `ddt-send … '<ticket>'`. Blanks and line breaks are
 * ignored anywhere: a ticket copied from a narrow terminal has some. Unknown names in the fragment are
 * ignored: a later version may add some.
 * @throws TransferError `usage`, which says what is wrong and shows nothing of the ticket.
 */
export function parseTicket(text: string): Ticket {
  const { place, parameters } = parseParts(text);
  const token = parameters.get('token');
  if (token === undefined && parameters.has('transfer'))
    refuse('it is a public one, for which you need a key that the receiver allows', HINT_IDENTITY);
  if (token === undefined) refuse('its token is missing, as when a shell cuts the line at "&"');
  if (parseToken(token) === undefined) refuse('its token is damaged or cut short');
  return { ...place, token };
}

/** As {@link parseTicket}. */
export function parsePublicTicket(text: string): PublicTicket {
  const { place, parameters } = parseParts(text);
  const [transferId, receiver] = [parameters.get('transfer'), parameters.get('key')];
  if (parameters.has('token')) refuse('it has a token, so no key is needed', HINT_NO_IDENTITY);
  if (transferId === undefined) refuse('its transfer is missing, as when a shell cuts the line at "&"');
  if (!UUID.test(transferId)) refuse('its transfer is damaged or cut short');
  if (receiver === undefined) refuse("the receiver's key is missing");
  if (!isFingerprint(receiver)) refuse("the receiver's key is damaged or cut short");
  return { ...place, transferId, receiver };
}

function parseParts(text: string): { place: Place; parameters: ReadonlyMap<string, string> } {
  const url = parseAddress(unwrap(text));
  if (url.hash === '') refuse('everything from "#" on is missing');
  // Not URLSearchParams: it would turn the plus signs of a pin into blanks.
  const parameters = parseFragment(url.hash.slice(1));
  const pin = parameters.get('pin');
  if (pin === undefined) refuse('its pin is missing');
  if (!isPin(pin)) refuse('its pin is damaged or cut short');
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  const port = url.port === '' ? HTTPS_PORT : Number(url.port);
  return { place: { ...placeOf(host, port), pin }, parameters };
}

/** The fingerprint of the key that signs the receipts of this receiver. */
export function receiverOf({ token, receiver }: Ticket): string | undefined {
  const signer = parseToken(token)?.signature.publicKey;
  return receiver ?? (signer === undefined ? undefined : fingerprintOf(signer));
}

/** The ticket of the same receiver at another address. @param port undefined: the ticket's. */
export function atAddress<Given extends Place>(ticket: Given, host: string, port: number | undefined): Given {
  return { ...ticket, ...placeOf(host, port ?? ticket.port) };
}

function placeOf(host: string, port: number): Omit<Place, 'pin'> {
  return { origin: `https://${formatHostPort(host, port)}`, host, port };
}

/** @returns what may be the ticket, without blanks, quotes, and the words before it. */
function unwrap(text: string): string {
  const at = Math.max(0, text.search(/https:\/\//i));
  const before = text.slice(0, at);
  const [, quote] = /(['"])\s*$/.exec(before) ?? [];
  const isAnnounced = quote !== undefined || /(^|\s)(ticket( for [^]*)?:|ddt-send\s[^]*)\s*$/i.test(before);
  const rest = isAnnounced ? text.slice(at) : text;
  const quoted = quote === undefined ? rest : (rest.split(quote, 1)[0] ?? '');
  return quoted.replaceAll(BLANKS, '').replaceAll(/^['"]+|['"]+$/g, '');
}

/** Messages never quote the ticket, and have no cause: errors of URL carry their whole input. */
function refuse(reason: string, hint: string = HINT_QUOTE): never {
  throw new TransferError('usage', `cannot read the ticket: ${reason}`, { hint });
}

function parseAddress(text: string): URL {
  if (text === '') refuse('it is empty', HINT_COPY);
  if (/^ddt1\./i.test(text)) refuse('it is only a token, without an address and a pin', HINT_COPY);
  if (/^http:\/\//i.test(text)) refuse('it starts with http://, but there is no plain mode', HINT_COPY);
  if (!/^https:\/\//i.test(text)) refuse('it does not start with https://', HINT_COPY);
  if (text.includes('\\')) refuse('there is a backslash in it, as some shells add when pasting');
  const url = URL.parse(text);
  if (url === null || url.port === '0') refuse('its host or port is not valid', HINT_COPY);
  if (url.username !== '' || url.password !== '') refuse('there is a user name in its address', HINT_COPY);
  if (url.search !== '') refuse('there is a "?" in its address; pin and token come after "#"', HINT_COPY);
  if (url.pathname !== '/') refuse('there is a path in its address', HINT_COPY);
  return url;
}

function parseFragment(fragment: string): Map<string, string> {
  const parameters = new Map<string, string>();
  for (const part of fragment.split('&')) {
    const [name = ''] = part.split('=', 1);
    if (parameters.has(name)) refuse('one of its parts is there twice', HINT_COPY);
    parameters.set(name, decodePercent(part.slice(name.length + 1)));
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
