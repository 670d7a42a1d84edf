/**
 * The right to write or read one transfer of one receiver until it expires: `ddt1.<payload>.<signature>`,
 * both base64url without padding (RFC 4648 section 5). The payload is JSON; the signature is OpenSSH's
 * (ssh-signature.ts) over its exact bytes, so that `ssh-keygen -Y sign` alone can make a token.
 */
import assert from 'node:assert/strict';
import { isUtf8 } from 'node:buffer';
import {
  isSignatureGood,
  parseSshsig,
  signSsh,
  type SigningKey,
  type SshSignature,
} from './ssh-signature.ts';

export const TOKEN_NAMESPACE = 'ddt-token-v1@dd-transfer';
/** Characters; ours have about 450. */
export const TOKEN_LENGTH_MAX = 2048;
/** The clock of the machine that made a token may be this far ahead of ours. */
const CLOCK_LEEWAY_SECONDS = 60;
const SHAPE = /^ddt1\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)$/;
const PAYLOAD_KEYS = ['v', 'aud', 'tid', 'scope', 'iat', 'exp'] as const;

/** `read`: to look at the transfer and its blocks; `write`: that, and everything else. */
export type Scope = 'read' | 'write';

export interface TokenPayload {
  readonly v: 1;
  /** Pin of the receiver. */
  readonly aud: string;
  /** Id of the transfer. */
  readonly tid: string;
  /** What it allows, see {@link Scope}; others are ignored. */
  readonly scope: readonly string[];
  /** Valid from, seconds since 1970. */
  readonly iat: number;
  /** Expires, seconds since 1970; not valid in that second any more. */
  readonly exp: number;
}

/** A text that has the form of a token; it proves nothing before {@link isTokenSignatureGood}. */
export interface ParsedToken {
  readonly payload: TokenPayload;
  /** The signed bytes. */
  readonly payloadBytes: Buffer;
  readonly signature: SshSignature;
}

export interface TokenExpectations {
  /** The receiver's own pin. */
  readonly audience: string;
  readonly transferId: string;
  /** As ssh has them, see ssh-keys.ts. */
  readonly trustedKeys: readonly Buffer[];
  readonly nowSeconds: number;
  /** What the request needs. */
  readonly scope: Scope;
}

/** The same payload and key give the same token. */
export function mintToken(payload: TokenPayload, key: SigningKey): string {
  assert(isPayload(payload), 'a payload of the right shape');
  const { v, aud, tid, scope, iat, exp } = payload;
  const bytes = Buffer.from(JSON.stringify({ v, aud, tid, scope, iat, exp }));
  const signature = signSsh(key, TOKEN_NAMESPACE, bytes);
  const token = tokenOf(bytes, signature);
  assert(token.length <= TOKEN_LENGTH_MAX, 'a token short enough for a header line');
  return token;
}

/** @param payload the signed bytes. @param signature binary, as {@link signSsh} makes it. */
export function tokenOf(payload: Buffer, signature: Buffer): string {
  return `ddt1.${payload.toString('base64url')}.${signature.toString('base64url')}`;
}

/** @returns undefined unless the text has exactly the form of a token and was signed as one. */
export function parseToken(text: string): ParsedToken | undefined {
  if (text.length > TOKEN_LENGTH_MAX) return undefined;
  const [, payloadText, signatureText] = SHAPE.exec(text) ?? [];
  const payloadBytes = decodeBase64url(payloadText);
  const blob = decodeBase64url(signatureText);
  if (payloadBytes === undefined || blob === undefined) return undefined;
  const signature = parseSshsig(blob);
  if (signature?.namespace !== TOKEN_NAMESPACE) return undefined;
  const payload = parsePayload(payloadBytes);
  return payload === undefined ? undefined : { payload, payloadBytes, signature };
}

/**
 * Checks everything but the signature, cheapest first. Its timing reveals nothing: all that it compares with
 * is in the ticket.
 * @returns why the token is refused, or undefined.
 */
export function checkToken(
  parsed: ParsedToken,
  expected: TokenExpectations,
): 'token-invalid' | 'token-expired' | 'scope' | undefined {
  const { payload, signature } = parsed;
  if (!expected.trustedKeys.some((key) => key.equals(signature.publicKey))) return 'token-invalid';
  if (payload.aud !== expected.audience || payload.tid !== expected.transferId) return 'token-invalid';
  if (payload.iat > expected.nowSeconds + CLOCK_LEEWAY_SECONDS) return 'token-invalid';
  if (payload.exp <= expected.nowSeconds) return 'token-expired';
  return isAllowed(payload, expected.scope) ? undefined : 'scope';
}

/** Who may write may read. */
export function isAllowed({ scope }: Pick<TokenPayload, 'scope'>, wanted: Scope): boolean {
  return scope.includes(wanted) || (wanted === 'read' && scope.includes('write'));
}

/** Takes milliseconds of the event loop: call it after {@link checkToken}, and once for each token. */
export function isTokenSignatureGood(parsed: ParsedToken): boolean {
  return isSignatureGood(parsed.signature, parsed.payloadBytes);
}

/** Only the canonical spelling: Node's decoder skips unknown characters and ignores left-over bits. */
function decodeBase64url(text: string | undefined): Buffer | undefined {
  if (text === undefined) return undefined;
  const bytes = Buffer.from(text, 'base64url');
  return bytes.toString('base64url') === text ? bytes : undefined;
}

function parsePayload(bytes: Buffer): TokenPayload | undefined {
  if (!isUtf8(bytes)) return undefined;
  try {
    const text = bytes.toString('utf8');
    const value: unknown = JSON.parse(text);
    return isPayload(value) && membersIn(text) === PAYLOAD_KEYS.length ? value : undefined;
  } catch {
    return undefined;
  }
}

/** How many names are in flat JSON: JSON.parse takes the last of two that are equal. */
function membersIn(json: string): number {
  return [...json.matchAll(/"(?:[^"\\]|\\.)*"(\s*:)?/g)].filter(([, colon]) => colon !== undefined).length;
}

/** Without other members: an unknown one may be a restriction, and to ignore it would grant too much. */
function isPayload(value: unknown): value is TokenPayload {
  if (typeof value !== 'object' || value === null) return false;
  const members = new Map<string, unknown>(Object.entries(value));
  if (members.size !== PAYLOAD_KEYS.length || !PAYLOAD_KEYS.every((key) => members.has(key))) return false;
  const [version, audience, transferId, scope, from, until] = PAYLOAD_KEYS.map((key) => members.get(key));
  return (
    version === 1 &&
    isFilled(audience) &&
    isFilled(transferId) &&
    Array.isArray(scope) &&
    scope.length > 0 &&
    scope.every(isFilled) &&
    isTime(from) &&
    isTime(until) &&
    from < until
  );
}

function isFilled(value: unknown): value is string {
  return typeof value === 'string' && value !== '';
}

function isTime(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}
