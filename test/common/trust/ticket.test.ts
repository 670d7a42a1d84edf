import assert from 'node:assert/strict';
import { inspect } from 'node:util';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { TransferError } from '../../../common/errors.ts';
import { fingerprintOf, makeSigningKey } from '../../../common/trust/ssh-signature.ts';
import {
  atAddress,
  formatPublicTicket,
  formatTicket,
  isPin,
  looksLikeTicket,
  parsePublicTicket,
  parseTicket,
  receiverOf,
  type PublicTicket,
  type Ticket,
} from '../../../common/trust/ticket.ts';
import { redact } from '../../../common/text.ts';
import { mintToken } from '../../../common/trust/token.ts';

/** With `+`, `/` and `=`, the characters that get lost in copying. */
const PIN = `sha256//${Buffer.alloc(32, 'fbefff', 'hex').toString('base64')}`;
const KEY = makeSigningKey(Buffer.alloc(32, 7));
const TOKEN = mintToken(
  { v: 1, aud: PIN, tid: '3f9c41d2a0b7', scope: ['write'], iat: 1_800_000_000, exp: 1_800_003_600 },
  KEY,
);
const TICKET: Ticket = {
  origin: 'https://203.0.113.7:8443',
  host: '203.0.113.7',
  port: 8443,
  pin: PIN,
  token: TOKEN,
};
const TEXT = `https://203.0.113.7:8443/#pin=${PIN}&token=${TOKEN}`;

const TRANSFER = 'aa1efd11-b91c-4de8-8fca-faa17d7f5801';
const RECEIVER = fingerprintOf(KEY.publicKey);
const PUBLIC: PublicTicket = {
  origin: 'https://203.0.113.7:8443',
  host: '203.0.113.7',
  port: 8443,
  pin: PIN,
  transferId: TRANSFER,
  receiver: RECEIVER,
};
const PUBLIC_TEXT = `https://203.0.113.7:8443/#pin=${PIN}&transfer=${TRANSFER}&key=${RECEIVER}`;

function refusalOf(text: string, parse: (text: string) => unknown = parseTicket): TransferError {
  try {
    parse(text);
  } catch (error) {
    assert.ok(error instanceof TransferError);
    return error;
  }
  return assert.fail('it was read');
}

test("a ticket is one line with address, pin and token, the pin in curl's format", () => {
  assert.match(PIN, /\+.*\/.*=$/);
  assert.equal(formatTicket(TICKET), TEXT);
  assert.deepEqual(parseTicket(TEXT), TICKET);
});

test('a ticket reads back as it was, for any host, port and pin', () => {
  const hosts = fc.oneof(fc.domain(), fc.ipV4(), fc.ipV6());
  const canonical = (host: string): string =>
    new URL(`https://${host.includes(':') ? `[${host}]` : host}/`).hostname.replace(/^\[(.*)\]$/, '$1');
  const port = fc.integer({ min: 1, max: 65535 });
  const key = fc.uint8Array({ minLength: 32, maxLength: 32 });
  fc.assert(
    fc.property(hosts, port, key, (name, portNumber, bytes) => {
      const pin = `sha256//${Buffer.from(bytes).toString('base64')}`;
      const parts = { host: canonical(name), port: portNumber, pin, token: TOKEN };
      const text = formatTicket(parts);
      assert.deepEqual(parseTicket(text), { ...parts, origin: text.split('/#', 1)[0] });
      const encoded = text.replace(pin, encodeURIComponent(pin));
      assert.deepEqual(parseTicket(encoded), parseTicket(text));
      assert.deepEqual(parseTicket(new URL(text).href), parseTicket(text));
    }),
    { numRuns: 300 },
  );
});

test('an IPv6 address is in brackets in the ticket, and without them in its host', () => {
  const text = TEXT.replace('203.0.113.7', '[::1]');
  const ticket = parseTicket(text);
  assert.equal(ticket.host, '::1');
  assert.equal(ticket.port, 8443);
  assert.equal(ticket.origin, 'https://[::1]:8443');
  assert.equal(formatTicket(ticket), text);
});

test('a ticket without a port means 443, and its origin says so', () => {
  const ticket = parseTicket(TEXT.replace(':8443', ''));
  assert.deepEqual([ticket.port, ticket.origin], [443, 'https://203.0.113.7:443']);
});

test('a ticket is read however it was copied', () => {
  const encoded = TEXT.replace(PIN, encodeURIComponent(PIN));
  const [, fragment = ''] = TEXT.split('#');
  const spellings = [
    `  ${TEXT}\n`,
    `\r\n${TEXT}\r\n`,
    TEXT.replace('https', 'HTTPS'),
    TEXT.replace('/#', '#'),
    encoded,
    encoded.replaceAll('%2F', '%2f'),
    `${TEXT.slice(0, 80)}\n   ${TEXT.slice(80, 160)}\r\n${TEXT.slice(160)}`,
    `https://203.0.113.7:8443/#token=${TOKEN}&pin=${PIN}`,
    `https://203.0.113.7:8443/#v=2&${fragment}&x`,
    TEXT.replace('&', ' &'),
    TEXT.replaceAll(/.{9}/g, '$& '),
    TEXT.replaceAll(/.{60}/g, '$&\u200B\n'),
    `${TEXT}'`,
    `"${TEXT}"`,
    `ticket: ${TEXT}`,
    `  Ticket:\n${TEXT}`,
    `journal  /x (new)\nlistening on [::]:8443\nticket: ${TEXT}\n`,
    `ddt-send /dev/sdX '${TEXT}'`,
    `ddt-send /dev/sdX '${TEXT}'   # then wait`,
    `ddt-send /dev/sdX ${TEXT}`,
    `# ddt-send --compress none <source> \\\n  '${TEXT.slice(0, 99)}\n${TEXT.slice(99)}'\n`,
  ];
  for (const text of spellings) assert.deepEqual(parseTicket(text), TICKET, text);
});

test('what looks like a ticket is not the name of a disk', () => {
  for (const text of [TEXT, ` '${TEXT}`, `ticket: ${TEXT}`, 'ticket:', TOKEN, 'http://x', TEXT.slice(0, 20)])
    assert(looksLikeTicket(text), text);
  for (const text of ['/dev/sdc', '-', 'disk.img', 'ticket', 'tickets/https.img', '', TEXT.slice(-40)])
    assert(!looksLikeTicket(text), text);
});

test('the same ticket at another address keeps its port unless another one is given, and its pin', () => {
  assert.deepEqual(atAddress(TICKET, 'vm.example.org', undefined), {
    ...TICKET,
    origin: 'https://vm.example.org:8443',
    host: 'vm.example.org',
  });
  assert.deepEqual(parseTicket(formatTicket(atAddress(TICKET, '2001:db8::7', 443))), {
    ...TICKET,
    origin: 'https://[2001:db8::7]:443',
    host: '2001:db8::7',
    port: 443,
  });
});

test('each mistake with a ticket is named, and nothing of the ticket is shown', () => {
  const quote = /^put the whole ticket in single quotes: /;
  const copy = /^copy the whole line /;
  const table: readonly (readonly [string, string, RegExp])[] = [
    ['', 'it is empty', copy],
    [' \n ', 'it is empty', copy],
    [TOKEN, 'it is only a token, without an address and a pin', copy],
    [TEXT.replace('https', 'http'), 'it starts with http://, but there is no plain mode', copy],
    [`see ${TEXT}`, 'it does not start with https://', copy],
    ['/dev/sdc', 'it does not start with https://', copy],
    [`${TOKEN}:${TEXT}`, 'it is only a token, without an address and a pin', copy],
    ['203.0.113.7:8443', 'it does not start with https://', copy],
    [TEXT.replace(/[#&]/g, '\\$&'), 'there is a backslash in it, as some shells add when pasting', quote],
    [TEXT.replace('8443', '84430'), 'its host or port is not valid', copy],
    [TEXT.replace('8443', '0'), 'its host or port is not valid', copy],
    [TEXT.replace('203.0.113.7', '203.0.113.700'), 'its host or port is not valid', copy],
    [TEXT.replace('203.0.113.7:8443', ''), 'its host or port is not valid', copy],
    [TEXT.replace('203', 'root@203'), 'there is a user name in its address', copy],
    [TEXT.replace('#', '?'), 'there is a "?" in its address; pin and token come after "#"', copy],
    [TEXT.replace('#', 'blocks#'), 'there is a path in its address', copy],
    ['https://203.0.113.7:8443/', 'everything from "#" on is missing', quote],
    ['https://203.0.113.7:8443/#', 'everything from "#" on is missing', quote],
    [`https://203.0.113.7:8443/#token=${TOKEN}`, 'its pin is missing', quote],
    [TEXT.replace('pin=', 'pin'), 'its pin is missing', quote],
    [TEXT.replace('=&', '&'), 'its pin is damaged or cut short', quote],
    [TEXT.replace('sha256', 'sha512'), 'its pin is damaged or cut short', quote],
    [TEXT.replaceAll('+', '%20'), 'its pin is damaged or cut short', quote],
    [TEXT.split('&')[0] ?? '', 'its token is missing, as when a shell cuts the line at "&"', quote],
    [TEXT.replace(TOKEN, ''), 'its token is damaged or cut short', quote],
    [TEXT.slice(0, -1), 'its token is damaged or cut short', quote],
    [TEXT.slice(0, -90), 'its token is damaged or cut short', quote],
    [`${TEXT}&pin=${PIN}`, 'one of its parts is there twice', copy],
    [`${TEXT}&token=${TOKEN}`, 'one of its parts is there twice', copy],
    [TEXT.replace('sha256', 'sha256%'), 'its percent-encoding is damaged', copy],
  ];
  const [, payload = '', signature = ''] = TOKEN.split('.');
  for (const [text, reason, hint] of table) {
    const error = refusalOf(text);
    assert.equal(error.message, `cannot read the ticket: ${reason}`);
    assert.equal(error.code, 'usage');
    assert.match(error.hint ?? '', hint);
    const all = inspect(error, { depth: 9, showHidden: true });
    for (const secret of [payload, signature, PIN.slice(8), '203.0.113']) {
      assert.ok(!all.includes(secret.slice(0, 20)), `${reason}: ${secret} is shown`);
    }
  }
});

test('a public ticket has no secret, reads back however it was copied, and is never redacted', () => {
  assert.equal(formatPublicTicket(PUBLIC), PUBLIC_TEXT);
  const spellings = [
    PUBLIC_TEXT,
    `public ticket: ${PUBLIC_TEXT}\n`,
    PUBLIC_TEXT.replaceAll(/.{60}/g, '$&\n  '),
    `ddt-send --identity ~/.ssh/id_ed25519 <source> '${PUBLIC_TEXT}'`,
    PUBLIC_TEXT.replace(PIN, encodeURIComponent(PIN)).replace(RECEIVER, encodeURIComponent(RECEIVER)),
    `https://203.0.113.7:8443/#key=${RECEIVER}&v=2&transfer=${TRANSFER}&pin=${PIN}`,
  ];
  for (const text of spellings) assert.deepEqual(parsePublicTicket(text), PUBLIC, text);
  assert.equal(redact(PUBLIC_TEXT), PUBLIC_TEXT);
  assert(looksLikeTicket(PUBLIC_TEXT) && looksLikeTicket(`public ticket: ${PUBLIC_TEXT}`));
  assert.equal(atAddress(PUBLIC, 'vm.example.org', 1).receiver, RECEIVER);
});

test('each mistake with a public ticket is named, and so is a ticket of the other kind', () => {
  const table: readonly (readonly [string, string, RegExp])[] = [
    [
      PUBLIC_TEXT.replace(/&transfer.*/, ''),
      'its transfer is missing, as when a shell cuts the line at "&"',
      /quotes/,
    ],
    [PUBLIC_TEXT.replace(TRANSFER, TRANSFER.slice(1)), 'its transfer is damaged or cut short', /quotes/],
    [PUBLIC_TEXT.replace(/&key.*/, ''), "the receiver's key is missing", /quotes/],
    [PUBLIC_TEXT.slice(0, -1), "the receiver's key is damaged or cut short", /quotes/],
    [PUBLIC_TEXT.replace(/.$/, 'B'), "the receiver's key is damaged or cut short", /quotes/],
    [PUBLIC_TEXT.replace('SHA256:', 'MD5:'), "the receiver's key is damaged or cut short", /quotes/],
    [PUBLIC_TEXT.replace(PIN, PIN.slice(1)), 'its pin is damaged or cut short', /quotes/],
    [`${PUBLIC_TEXT}&key=${RECEIVER}`, 'one of its parts is there twice', /^copy the whole line/],
    [TEXT, 'it has a token, so no key is needed', /^leave --identity out/],
    [`${PUBLIC_TEXT}&token=${TOKEN}`, 'it has a token, so no key is needed', /^leave --identity out/],
  ];
  for (const [text, reason, hint] of table) {
    const error = refusalOf(text, parsePublicTicket);
    assert.deepEqual([error.message, error.code], [`cannot read the ticket: ${reason}`, 'usage']);
    assert.match(error.hint ?? '', hint);
  }
  const other = refusalOf(PUBLIC_TEXT);
  assert.match(other.message, /: it is a public one, for which you need a key that the receiver allows$/);
  assert.match(other.hint ?? '', /: ddt-send --identity /);
});

test('the key of receipts is the one that signed the token, unless the ticket names it', () => {
  assert.equal(receiverOf(TICKET), RECEIVER);
  const other = fingerprintOf(makeSigningKey().publicKey);
  assert.equal(receiverOf({ ...TICKET, receiver: other }), other);
});

test('parsing any text gives a ticket, or a usage error without the text', () => {
  const piece = fc.oneof(
    fc.string(),
    fc.webUrl({ withFragments: true }),
    fc.constantFrom('https://h:1/', '#', '&', 'pin=', PIN, 'token=', TOKEN, '%', '\n', '[', ']:1', '@'),
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 8 }), (pieces) => {
      try {
        const ticket = parseTicket(pieces.join(''));
        assert.deepEqual([ticket.pin, ticket.token], [PIN, TOKEN]);
      } catch (error) {
        assert.ok(error instanceof TransferError && error.code === 'usage');
        assert.equal(error.cause, undefined);
      }
    }),
    { numRuns: 5000 },
  );
});

test('a pin is sha256// and the canonical base64 of 32 bytes', () => {
  assert.ok(isPin(PIN));
  const bare = PIN.slice(8);
  const others = [
    '',
    bare,
    `sha256/${bare}`,
    `SHA256//${bare}`,
    `${PIN}=`,
    ` ${PIN}`,
    `${PIN}\n`,
    PIN.slice(0, -1),
  ];
  // The last character carries two bits that must be zero.
  others.push(PIN.replace(/.=$/, 'B='), `sha256//${Buffer.alloc(31).toString('base64')}`, `${PIN};${PIN}`);
  for (const text of others) assert.ok(!isPin(text), text);
});

test('redacting removes every token, whole, cut or encoded, and nothing else', () => {
  const [, payload = '', signature = ''] = TOKEN.split('.');
  const texts = [
    TEXT,
    `Authorization: Bearer ${TOKEN}\r\nHost: x`,
    `${TOKEN} and ${TOKEN}`,
    `{"token":"${TOKEN}"}`,
    `token=${TOKEN.slice(0, 60)}`,
    `ddt1.${payload}`,
    TOKEN.replaceAll('.', '%2E'),
    TOKEN.toUpperCase(),
  ];
  for (const text of texts) {
    const safe = redact(text).toUpperCase();
    assert.ok(safe.includes('DDT1.…'), text);
    assert.ok(
      !safe.includes(payload.slice(0, 8).toUpperCase()) && !safe.includes(signature.toUpperCase()),
      text,
    );
  }
  assert.equal(redact(TEXT), `https://203.0.113.7:8443/#pin=${PIN}&token=ddt1.…`);
  assert.equal(redact(redact(TEXT)), redact(TEXT));
  fc.assert(
    fc.property(
      fc.string().filter((text) => !/ddt1/i.test(text)),
      (text) => {
        assert.equal(redact(text), text);
        assert.ok(!redact(`${text} ${TOKEN} ${text}`).includes(payload));
      },
    ),
  );
});
