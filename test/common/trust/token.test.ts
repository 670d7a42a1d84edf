import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { systemClock } from '../../../common/clock.ts';
import * as fc from 'fast-check';
import { armorSshsig, makeSigningKey, publicKeyLine, signSsh } from '../../../common/trust/ssh-signature.ts';
import {
  checkToken,
  isTokenSignatureGood,
  mintToken,
  parseToken,
  TOKEN_LENGTH_MAX,
  TOKEN_NAMESPACE,
  type TokenExpectations,
  type TokenPayload,
} from '../../../common/trust/token.ts';
import { unlessInstalled } from '../../support/requires.ts';
import { tempDir } from '../../support/temp-dir.ts';

const KEY = makeSigningKey(Buffer.alloc(32, 7));
const PIN = `sha256//${Buffer.alloc(32, 0xfb).toString('base64')}`;
const PAYLOAD: TokenPayload = {
  v: 1,
  aud: PIN,
  tid: '3f9c41d2a0b7',
  scope: ['write'],
  iat: 1_800_000_000,
  exp: 1_800_003_600,
};
const EXPECTED: TokenExpectations = {
  audience: PIN,
  transferId: PAYLOAD.tid,
  trustedKeys: [KEY.publicKey],
  nowSeconds: 1_800_000_100,
  scope: 'write',
};
const needsSshKeygen = { skip: unlessInstalled('ssh-keygen') };

/** What a receiver says of a token: `good`, the reason of its refusal, or `unreadable`. */
function judge(text: string, expected: Partial<TokenExpectations> = {}): string {
  const parsed = parseToken(text);
  if (parsed === undefined) return 'unreadable';
  const reason = checkToken(parsed, { ...EXPECTED, ...expected });
  return reason ?? (isTokenSignatureGood(parsed) ? 'good' : 'forged');
}

/** A token with a right signature over any payload. */
function sign(payload: string | Buffer, namespace = TOKEN_NAMESPACE): string {
  const bytes = Buffer.from(payload);
  return `ddt1.${bytes.toString('base64url')}.${signSsh(KEY, namespace, bytes).toString('base64url')}`;
}

test('a token is good for its receiver and transfer, and the same input gives the same token', () => {
  const token = mintToken(PAYLOAD, KEY);
  assert.equal(judge(token), 'good');
  assert.equal(mintToken({ ...PAYLOAD }, KEY), token);
  assert.match(token, /^ddt1\.[\w-]+\.[\w-]+$/);
});

test('a token reads back as it was made', () => {
  const text = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 30 });
  const payloads = fc
    .record({
      aud: text,
      tid: text,
      scope: fc.array(text, { minLength: 1, maxLength: 3 }),
      times: fc.tuple(fc.nat(), fc.integer({ min: 1, max: 2 ** 40 })),
    })
    .map(({ aud, tid, scope, times: [iat, length] }): TokenPayload => ({
      v: 1,
      aud,
      tid,
      scope,
      iat,
      exp: iat + length,
    }));
  fc.assert(
    fc.property(payloads, (payload) => {
      assert.deepEqual(parseToken(mintToken(payload, KEY))?.payload, payload);
    }),
    { numRuns: 50 },
  );
});

test('ssh-keygen alone can make a token', needsSshKeygen, async () => {
  await using folder = await tempDir();
  const keyPath = join(folder.path, 'id_ed25519');
  spawnSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', keyPath]);
  const script = String.raw`
    NOW=$(date +%s)
    P=$(printf '{"v":1,"aud":"%s","tid":"%s","scope":["write"],"iat":%d,"exp":%d}' \
      "$PIN" "$TID" "$NOW" "$((NOW+3600))")
    S=$(printf %s "$P" | ssh-keygen -q -Y sign -f "$KEY" -n ddt-token-v1@dd-transfer |
      sed '/SSH SIGNATURE/d' | tr -d '\n' | tr '+/' '-_' | tr -d =)
    printf 'ddt1.%s.%s' "$(printf %s "$P" | base64 -w0 | tr '+/' '-_' | tr -d =)" "$S"`;
  const env = { ...process.env, PIN, TID: PAYLOAD.tid, KEY: keyPath };
  const token = spawnSync('sh', ['-c', script], { env, encoding: 'utf8' }).stdout;
  const line = await readFile(`${keyPath}.pub`, 'utf8');
  const publicKey = Buffer.from(line.split(' ')[1] ?? '', 'base64');
  const nowSeconds = Math.floor(systemClock.wallMs() / 1000);
  assert.equal(judge(token, { trustedKeys: [KEY.publicKey, publicKey], nowSeconds }), 'good');
  assert.equal(judge(token, { nowSeconds }), 'token-invalid');
});

test('ssh-keygen verifies the signature of a token', needsSshKeygen, async () => {
  await using folder = await tempDir();
  const [, payload = '', signature = ''] = mintToken(PAYLOAD, KEY).split('.');
  const signaturePath = join(folder.path, 'token.sig');
  const signersPath = join(folder.path, 'allowed_signers');
  await writeFile(signaturePath, armorSshsig(Buffer.from(signature, 'base64url')));
  await writeFile(signersPath, `ddt ${publicKeyLine(KEY.publicKey, '')}\n`);
  const args = ['-Y', 'verify', '-f', signersPath, '-I', 'ddt', '-n', TOKEN_NAMESPACE, '-s', signaturePath];
  assert.equal(spawnSync('ssh-keygen', args, { input: Buffer.from(payload, 'base64url') }).status, 0);
});

test('each reason to refuse a token has its code, and the cheapest check comes first', () => {
  const token = mintToken(PAYLOAD, KEY);
  const stranger = makeSigningKey();
  assert.equal(judge(mintToken(PAYLOAD, stranger)), 'token-invalid');
  assert.equal(judge(token, { trustedKeys: [] }), 'token-invalid');
  assert.equal(judge(token, { audience: PIN.replace('+', '/') }), 'token-invalid');
  assert.equal(judge(token, { transferId: '3f9c41d2a0b8' }), 'token-invalid');
  assert.equal(judge(token, { scope: 'read' }), 'good', 'who may write may read');
  const reading = mintToken({ ...PAYLOAD, scope: ['read'] }, KEY);
  assert.deepEqual([judge(reading, { scope: 'read' }), judge(reading)], ['good', 'scope']);
  assert.equal(judge(mintToken({ ...PAYLOAD, scope: ['metrics'] }, KEY), { scope: 'read' }), 'scope');
  assert.equal(judge(mintToken({ ...PAYLOAD, scope: ['read', 'metrics'] }, KEY)), 'scope');
  assert.equal(judge(mintToken({ ...PAYLOAD, scope: ['read', 'write'] }, KEY)), 'good');
  const late = { nowSeconds: PAYLOAD.exp, scope: 'read' as const };
  assert.equal(judge(token, late), 'token-expired');
  assert.equal(judge(token, { ...late, transferId: 'other' }), 'token-invalid');
});

test('a token is valid from a minute before its time until the second in which it expires', () => {
  const token = mintToken(PAYLOAD, KEY);
  const at = (nowSeconds: number): string => judge(token, { nowSeconds });
  assert.equal(at(PAYLOAD.iat - 61), 'token-invalid');
  assert.equal(at(PAYLOAD.iat - 60), 'good');
  assert.equal(at(PAYLOAD.exp - 1), 'good');
  assert.equal(at(PAYLOAD.exp), 'token-expired');
});

test('a signature for another purpose is not a token', () => {
  const text = JSON.stringify(PAYLOAD);
  assert.equal(judge(sign(text)), 'good');
  for (const namespace of ['file', 'git', 'ddt-receipt-v1@dd-transfer', `${TOKEN_NAMESPACE}\0`]) {
    assert.equal(judge(sign(text, namespace)), 'unreadable');
  }
});

test('a token with any byte flipped is refused', () => {
  const token = Buffer.from(mintToken(PAYLOAD, KEY));
  for (let at = 0; at < token.length; at++) {
    const damaged = Buffer.from(token);
    damaged.writeUInt8(damaged.readUInt8(at) ^ (1 << (at % 7)), at);
    assert.notEqual(judge(damaged.toString('latin1')), 'good', `byte ${at}`);
  }
});

test('a token cut short, or with anything around it, is unreadable or refused', () => {
  const token = mintToken(PAYLOAD, KEY);
  for (let length = 0; length < token.length; length++) {
    assert.equal(judge(token.slice(0, length)), 'unreadable');
  }
  const [, payload = '', signature = ''] = token.split('.');
  const texts = [` ${token}`, `${token} `, `${token}\n`, `${token}=`, `${token}.`, `${token}.x`, `${token}A`];
  texts.push(`ddt1.${payload}=.${signature}`, `ddt2.${payload}.${signature}`, `DDT1.${payload}.${signature}`);
  texts.push(`ddt1.${payload}`, `ddt1..${signature}`, `ddt1.${signature}.${payload}`, '..', 'ddt1..');
  for (const text of texts) assert.equal(judge(text), 'unreadable', text);
});

test('only the canonical base64url spelling is read', () => {
  // One byte too many for groups of three leaves four bits over, which must be zero.
  const text = JSON.stringify({ ...PAYLOAD, tid: 'x' });
  const padded = text + ' '.repeat((4 - (text.length % 3)) % 3);
  const token = sign(padded);
  const [, payload = '', signature = ''] = token.split('.');
  assert.equal(judge(token, { transferId: 'x' }), 'good');
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  const next = alphabet[alphabet.indexOf(payload.slice(-1)) + 1] ?? '';
  const respelled = `ddt1.${payload.slice(0, -1)}${next}.${signature}`;
  assert.deepEqual(Buffer.from(payload.slice(0, -1) + next, 'base64url'), Buffer.from(padded));
  assert.equal(judge(respelled, { transferId: 'x' }), 'unreadable');
});

test('a payload of another form is not read, though its signature is good', () => {
  const { exp: _, ...endless } = PAYLOAD;
  const members: Readonly<Record<string, readonly unknown[]>> = {
    v: [2, '1'],
    aud: [1, '', [PIN]],
    tid: [null, ''],
    scope: ['write', [], ['write', 1], { includes: 'write' }],
    iat: ['1', -1, 1.5],
    exp: [2 ** 53, PAYLOAD.iat, null],
    ip: ['192.0.2.1'],
  };
  const shapes: unknown[] = [null, 1, 'x', [], {}, endless, [PAYLOAD]];
  for (const [name, values] of Object.entries(members)) {
    for (const value of values) shapes.push({ ...PAYLOAD, [name]: value });
  }
  for (const shape of shapes)
    assert.equal(judge(sign(JSON.stringify(shape))), 'unreadable', JSON.stringify(shape));
  const good = JSON.stringify(PAYLOAD);
  const hostile = [
    `${good}${good}`,
    good.slice(1),
    good.replace('"v"', '"__proto__":{},"v"'),
    good.replace('"exp"', '"exp":1, "exp"'),
    good.replace('"exp"', '"\\u0065xp":1,"exp"'),
    '['.repeat(500),
  ];
  for (const text of [...hostile, good.replace('1800003600', '1e999')]) {
    assert.equal(judge(sign(text)), 'unreadable', text);
  }
  const colons = { ...PAYLOAD, aud: 'sha256//"a": b', tid: '"exp":' };
  assert.notEqual(judge(sign(JSON.stringify(colons))), 'unreadable', 'names are counted, not colons');
  // As text it would be a good payload for another transfer.
  assert.equal(judge(sign(Buffer.from(good.replace('3f9c', '\u00ff'), 'latin1'))), 'unreadable');
});

test('a token of 2048 characters is read, a longer one is not', () => {
  const longest = (length: number): string => {
    const empty = sign(JSON.stringify({ ...PAYLOAD, tid: '' })).length;
    for (let extra = Math.floor(((length - empty) * 3) / 4) - 3; ; extra++) {
      const token = sign(JSON.stringify({ ...PAYLOAD, tid: 'x'.repeat(extra) }));
      if (token.length >= length) return token;
    }
  };
  const full = longest(TOKEN_LENGTH_MAX);
  assert.equal(full.length, TOKEN_LENGTH_MAX);
  assert.notEqual(parseToken(full), undefined);
  assert.equal(parseToken(longest(TOKEN_LENGTH_MAX + 1)), undefined);
  assert.throws(() => mintToken({ ...PAYLOAD, tid: 'x'.repeat(2048) }, KEY), assert.AssertionError);
});

test('parsing any text ends without an error', () => {
  const token = mintToken(PAYLOAD, KEY);
  const piece = fc.oneof(fc.string(), fc.base64String(), fc.json(), fc.constantFrom('ddt1.', '.', token));
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 6 }), (pieces) => {
      const text = pieces.join('');
      if (text !== token) assert.notEqual(judge(text), 'good');
    }),
    { numRuns: 5000 },
  );
  const signed = fc.oneof(fc.json({ maxDepth: 3 }), fc.string({ maxLength: 60 }));
  fc.assert(
    fc.property(signed, (payload) => assert.equal(parseToken(sign(payload)), undefined)),
    {
      numRuns: 50,
    },
  );
});
