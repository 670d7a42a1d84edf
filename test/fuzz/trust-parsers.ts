/** Tickets, tokens, signatures: what people paste and strangers send. */
import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { parseHostPort, formatHostPort } from '../../common/host-port.ts';
import {
  armorSshsig,
  fingerprintOf,
  isSignatureGood,
  makeSigningKey,
  parseSshsig,
  publicKeyLine,
  signSsh,
} from '../../common/trust/ssh-signature.ts';
import { TransferError } from '../../common/errors.ts';
import { isValidAt, parseAllowedSigners } from '../../common/trust/allowed-signers.ts';
import { problemOfKey } from '../../common/trust/ssh-keys.ts';
import {
  formatPublicTicket,
  formatTicket,
  isPin,
  looksLikeTicket,
  parsePublicTicket,
  parseTicket,
} from '../../common/trust/ticket.ts';
import {
  TOKEN_LENGTH_MAX,
  TOKEN_NAMESPACE,
  mintToken,
  parseToken,
  type TokenPayload,
} from '../../common/trust/token.ts';
import { mutatedBytes, mutatedJson, mutatedText } from './mutations.ts';
import { parsed, parserProperty, quotingParsed, type ParserProperty } from './parser-property.ts';

const KEY = makeSigningKey(Buffer.alloc(32, 7));
const PIN = `sha256//${Buffer.alloc(32, 0xfb).toString('base64')}`;
const PAYLOAD: TokenPayload = {
  v: 1,
  aud: PIN,
  tid: 'aa1efd11-b91c-4de8-8fca-faa17d7f5801',
  scope: ['write'],
  iat: 1_800_000_000,
  exp: 1_800_003_600,
};
/** Signing takes milliseconds: other payloads borrow this signature, whose form alone is parsed. */
const TOKEN = mintToken(PAYLOAD, KEY);
const SIGNATURE = TOKEN.slice(TOKEN.lastIndexOf('.'));
const BLOB = signSsh(KEY, 'ddt-receipt-v1@dd-transfer', Buffer.from('a receipt'));

const hosts = fc.oneof(
  fc.domain(),
  fc.ipV4(),
  fc.ipV6(),
  fc.constantFrom('localhost', '::1', 'vm-7.example.org', '2001:db8::7'),
);
const places = fc.record({ host: hosts, port: fc.integer({ min: 1, max: 65_535 }) });
const pins = fc
  .uint8Array({ minLength: 32, maxLength: 32 })
  .map((bytes) => `sha256//${Buffer.from(bytes).toString('base64')}`);
const tickets = fc
  .tuple(places, pins, fc.constantFrom('', 'ticket: ', "ddt-send /dev/sdc '"))
  .map(([place, pin, before]) => before + formatTicket({ ...place, pin, token: TOKEN }));

/** Decoders ignore the last bits of base64, and padding. */
const respelt = fc
  .tuple(
    fc.constantFrom(TOKEN, TOKEN.replace(SIGNATURE, '')),
    fc.constantFrom('', 'A', 'Q', 'g', 'w', '-', '=', 'B'),
  )
  .map(([text, last]) => {
    const changed = text.slice(0, -1) + last;
    return text === TOKEN ? changed : `${changed}${SIGNATURE}`;
  });

const publicTickets = fc
  .tuple(places, pins, fc.uuid(), fc.constantFrom('', 'public ticket: '))
  .map(
    ([place, pin, transferId, before]) =>
      before + formatPublicTicket({ ...place, pin, transferId, receiver: fingerprintOf(KEY.publicKey) }),
  );

function checkPublicTicket(text: string): void {
  const ticket = parsed(['usage'], () => parsePublicTicket(text));
  if (ticket !== undefined) assert.deepEqual(parsePublicTicket(formatPublicTicket(ticket)), ticket);
}

const KEY_LINE = publicKeyLine(KEY.publicKey, 'a comment');
const signerLines = fc
  .tuple(
    fc.constantFrom('alice', '"a b"', 'alice,!bob', '#'),
    fc.constantFrom(
      '',
      'namespaces="*" ',
      'valid-after="20260101Z",valid-before="2027010112" ',
      'cert-authority ',
    ),
  )
  .map(([principals, options]) => `${principals} ${options}${KEY_LINE}`);
const signerFiles = fc.array(signerLines, { maxLength: 3 }).map((lines) => lines.join('\n'));

function checkSigners(text: string): void {
  const refuse = (line: number, reason: string): never => {
    assert(line >= 1 && line <= text.split('\n').length && reason !== '');
    throw new TransferError('usage', `line ${line}: ${reason}`);
  };
  const found = quotingParsed(['usage'], () => parseAllowedSigners(text, TOKEN_NAMESPACE, refuse));
  for (const signer of found?.signers ?? []) {
    assert.equal(problemOfKey(signer.publicKey), undefined);
    assert(text.includes(signer.publicKey.toString('base64')) && text.includes(signer.principals));
    isValidAt(signer, PAYLOAD.iat);
  }
}

function checkTicket(text: string): void {
  looksLikeTicket(text);
  const ticket = parsed(['usage'], () => parseTicket(text));
  if (ticket === undefined) return;
  assert(isPin(ticket.pin) && parseToken(ticket.token) !== undefined, 'whole');
  assert(Number.isInteger(ticket.port) && ticket.port >= 1 && ticket.port <= 65_535, `port ${ticket.port}`);
  assert.equal(ticket.origin, `https://${formatHostPort(ticket.host, ticket.port)}`);
  assert.deepEqual(parseTicket(formatTicket(ticket)), ticket);
}

function checkToken(text: string): void {
  const token = parseToken(text);
  if (token === undefined) return;
  assert(text.length <= TOKEN_LENGTH_MAX);
  const { payload, payloadBytes, signature } = token;
  const [, ...parts] = text.split('.');
  const spelt = parts.map((part) => Buffer.from(part, 'base64url').toString('base64url'));
  assert.deepEqual(parts, spelt, 'one spelling');
  assert.equal(parts[0], payloadBytes.toString('base64url'));
  assert.equal(signature.namespace, TOKEN_NAMESPACE);
  assert.deepEqual(Object.keys(payload).sort(), Object.keys(PAYLOAD).sort());
  assert(payload.iat < payload.exp && payload.scope.length > 0);
  assert(Number.isSafeInteger(payload.iat) && Number.isSafeInteger(payload.exp) && payload.iat >= 0);
}

/** What is accepted has one spelling: its parts, put together again, are the same bytes. */
function checkSignature(blob: Buffer): void {
  const signature = parseSshsig(blob);
  if (signature === undefined) return;
  const { publicKey, namespace, hashAlgorithm, signature: bytes } = signature;
  assert.notEqual(namespace, '');
  const field = (value: string | Buffer): Buffer => {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(Buffer.byteLength(value));
    return Buffer.concat([length, Buffer.from(value)]);
  };
  const parts = [publicKey, namespace, '', hashAlgorithm, bytes].map(field);
  assert(Buffer.concat([Buffer.from('SSHSIG\0\0\0\x01'), ...parts]).equals(blob), 'one spelling');
}

export const TRUST_PARSERS: readonly ParserProperty[] = [
  parserProperty('ticket', 60, mutatedText(tickets), checkTicket),
  parserProperty('public ticket', 20, mutatedText(publicTickets), checkPublicTicket),
  parserProperty('allowed signers', 20, mutatedText(signerFiles), checkSigners),
  parserProperty('token', 60, fc.oneof(mutatedText(fc.constant(TOKEN)), respelt), checkToken),
  parserProperty(
    'token payload',
    80,
    mutatedJson(fc.constant(PAYLOAD)).map(
      (json) => `ddt1.${Buffer.from(json).toString('base64url')}${SIGNATURE}`,
    ),
    checkToken,
  ),
  parserProperty('ssh signature', 80, mutatedBytes(fc.constant(BLOB)), checkSignature),
  parserProperty('forged ssh signature', 1, mutatedBytes(fc.constant(BLOB)), (blob) => {
    const signature = parseSshsig(blob);
    const isGood = signature !== undefined && isSignatureGood(signature, Buffer.from('a receipt'));
    assert.equal(isGood, blob.equals(BLOB), armorSshsig(blob));
  }),
  parserProperty(
    'host and port',
    30,
    mutatedText(places.map(({ host, port }) => formatHostPort(host, port))),
    (text) => {
      const place = quotingParsed(['usage'], () => parseHostPort(text, '--connect'));
      if (place === undefined) return;
      const { host, port = 1 } = place;
      assert.deepEqual(parseHostPort(formatHostPort(host, port), '--connect'), { host, port });
    },
  ),
];
