import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createPublicKey, hash, randomBytes, verify } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import * as fc from 'fast-check';
import {
  armorSshsig,
  fingerprintOf,
  isSignatureGood,
  makeSigningKey,
  parseSshsig,
  publicKeyLine,
  signSsh,
} from '../../../common/trust/ssh-signature.ts';
import { unlessInstalled } from '../../support/requires.ts';
import { tempDir } from '../../support/temp-dir.ts';

const NAMESPACE = 'ddt-test-v1@dd-transfer';
const MESSAGE = Buffer.from('block 812 is where it belongs');
const needsSshKeygen = { skip: unlessInstalled('ssh-keygen') };

function sshKeygen(args: readonly string[], input: Buffer | string = ''): { status: number; text: string } {
  const { status, stdout, stderr } = spawnSync('ssh-keygen', args, { input, encoding: 'utf8' });
  return { status: status ?? -1, text: stdout + stderr };
}

function dearmor(text: string): Buffer {
  return Buffer.from(text.replace(/-----.*-----/g, ''), 'base64');
}

function accepts(blob: Buffer, message: Buffer, namespace: string): boolean {
  const parsed = parseSshsig(blob);
  return parsed?.namespace === namespace && isSignatureGood(parsed, message);
}

test('a seed gives the key pair that RFC 8032 section 7.1 lists for it', () => {
  const seed = Buffer.from('9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60', 'hex');
  const expected = 'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a';
  assert.equal(makeSigningKey(seed).publicKey.subarray(-32).toString('hex'), expected);
});

test('keys made without a seed differ', () => {
  assert.notDeepEqual(makeSigningKey().publicKey, makeSigningKey().publicKey);
});

test('ssh-keygen reads the public key line and prints the same fingerprint', needsSshKeygen, async () => {
  await using folder = await tempDir();
  const { publicKey } = makeSigningKey();
  const path = join(folder.path, 'key.pub');
  await writeFile(path, `${publicKeyLine(publicKey, 'receiver of sdc')}\n`);
  const printed = sshKeygen(['-lf', path]);
  assert.equal(printed.text.trim(), `256 ${fingerprintOf(publicKey)} receiver of sdc (ED25519)`);
});

test('the armor has the lines that ssh-keygen writes', () => {
  const lines = armorSshsig(signSsh(makeSigningKey(), NAMESPACE, MESSAGE)).split('\n');
  assert.equal(lines[0], '-----BEGIN SSH SIGNATURE-----');
  assert.deepEqual(lines.slice(-2), ['-----END SSH SIGNATURE-----', '']);
  const body = lines.slice(1, -2);
  assert.ok(body.slice(0, -1).every((line) => line.length === 70));
});

test('ssh-keygen verifies our signature, for its namespace and message alone', needsSshKeygen, async () => {
  await using folder = await tempDir();
  const key = makeSigningKey();
  const signaturePath = join(folder.path, 'message.sig');
  const signersPath = join(folder.path, 'allowed_signers');
  await writeFile(signaturePath, armorSshsig(signSsh(key, NAMESPACE, MESSAGE)));
  await writeFile(signersPath, `receiver ${publicKeyLine(key.publicKey, '')}\n`);
  const novalidate = ['-Y', 'check-novalidate', '-s', signaturePath];
  const verifying = ['-Y', 'verify', '-f', signersPath, '-I', 'receiver', '-s', signaturePath];
  assert.equal(sshKeygen([...novalidate, '-n', NAMESPACE], MESSAGE).status, 0);
  assert.match(sshKeygen([...verifying, '-n', NAMESPACE], MESSAGE).text, /^Good .* signature for receiver/);
  assert.notEqual(sshKeygen([...verifying, '-n', 'file'], MESSAGE).status, 0);
  assert.notEqual(sshKeygen([...verifying, '-n', NAMESPACE], `${MESSAGE.toString()} `).status, 0);
});

for (const algorithm of ['sha256', 'sha512'] as const) {
  test(`a signature that ssh-keygen made with ${algorithm} is good`, needsSshKeygen, async () => {
    await using folder = await tempDir();
    const keyPath = join(folder.path, 'id');
    assert.equal(sshKeygen(['-q', '-t', 'ed25519', '-N', '', '-C', 'me', '-f', keyPath]).status, 0);
    const args = ['-Y', 'sign', '-q', '-O', `hashalg=${algorithm}`, '-n', NAMESPACE, '-f', keyPath];
    const blob = dearmor(sshKeygen(args, MESSAGE).text);
    const parsed = parseSshsig(blob);
    assert.ok(parsed);
    assert.equal(parsed.hashAlgorithm, algorithm);
    assert.equal(publicKeyLine(parsed.publicKey, 'me'), (await readFile(`${keyPath}.pub`, 'utf8')).trim());
    assert.ok(accepts(blob, MESSAGE, NAMESPACE));
    assert.ok(!accepts(blob, Buffer.from('another message'), NAMESPACE));
  });
}

test('what was signed reads back as it was, for any namespace and message', () => {
  const key = makeSigningKey();
  const namespaces = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 });
  fc.assert(
    fc.property(namespaces, fc.uint8Array({ maxLength: 200 }), (namespace, message) => {
      const blob = signSsh(key, namespace, Buffer.from(message));
      assert.deepEqual(signSsh(key, namespace, Buffer.from(message)), blob);
      const parsed = parseSshsig(blob);
      assert.ok(parsed);
      assert.equal(parsed.namespace, namespace);
      assert.equal(parsed.hashAlgorithm, 'sha512');
      assert.deepEqual(parsed.publicKey, key.publicKey);
      assert.ok(isSignatureGood(parsed, Buffer.from(message)));
    }),
    { numRuns: 20 },
  );
});

test('node:crypto finds our signatures good too', () => {
  const key = makeSigningKey();
  const parsed = parseSshsig(signSsh(key, NAMESPACE, MESSAGE));
  assert.ok(parsed);
  const jwk = { kty: 'OKP', crv: 'Ed25519', x: key.publicKey.subarray(-32).toString('base64url') };
  const field = (value: string | Buffer): Buffer => {
    const bytes = Buffer.from(value);
    return Buffer.concat([Buffer.from([0, 0, 0, bytes.length]), bytes]);
  };
  const parts = [NAMESPACE, '', 'sha512', hash('sha512', MESSAGE, 'buffer')].map(field);
  const publicKey = createPublicKey({ key: jwk, format: 'jwk' });
  const signed = Buffer.concat([Buffer.from('SSHSIG'), ...parts]);
  assert.ok(verify(null, signed, publicKey, parsed.signature.subarray(-64)));
});

test('parsing any bytes ends without an error', () => {
  const blob = signSsh(makeSigningKey(), NAMESPACE, MESSAGE);
  const preamble = blob.subarray(0, 10);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
      assert.equal(parseSshsig(Buffer.from(bytes)), undefined);
      assert.equal(parseSshsig(Buffer.concat([preamble, bytes])), undefined);
    }),
    { numRuns: 2000 },
  );
  const cuts = fc.record({
    at: fc.nat(blob.length),
    drop: fc.nat(8),
    insert: fc.uint8Array({ maxLength: 8 }),
  });
  fc.assert(
    fc.property(cuts, ({ at, drop, insert }) => {
      parseSshsig(Buffer.concat([blob.subarray(0, at), insert, blob.subarray(at + drop)]));
    }),
    { numRuns: 5000 },
  );
});

test('a signature with bytes missing or too many is not read', () => {
  const blob = signSsh(makeSigningKey(), NAMESPACE, MESSAGE);
  for (let length = 0; length < blob.length; length++) {
    assert.equal(parseSshsig(blob.subarray(0, length)), undefined);
  }
  assert.equal(parseSshsig(Buffer.concat([blob, Buffer.alloc(1)])), undefined);
});

test('another version, an empty namespace, a filled reserved field and another digest are not read', () => {
  const blob = signSsh(makeSigningKey(), 'n', MESSAGE);
  assert.ok(parseSshsig(blob));
  const namespaceAt = 10 + 4 + 51;
  const reservedAt = namespaceAt + 4 + 1;
  const replace = (at: number, drop: number, insert: readonly number[]): Buffer =>
    Buffer.concat([blob.subarray(0, at), Buffer.from(insert), blob.subarray(at + drop)]);
  assert.equal(parseSshsig(replace(9, 1, [2])), undefined);
  assert.equal(parseSshsig(replace(namespaceAt, 5, [0, 0, 0, 0])), undefined);
  assert.equal(parseSshsig(replace(namespaceAt + 4, 1, [0xff])), undefined);
  assert.equal(parseSshsig(replace(reservedAt, 4, [0, 0, 0, 1, 65])), undefined);
  assert.equal(parseSshsig(replace(reservedAt + 8, 6, [...Buffer.from('sha384')])), undefined);
});

test('every flipped byte of a signature is noticed', () => {
  const blob = signSsh(makeSigningKey(), NAMESPACE, MESSAGE);
  assert.ok(accepts(blob, MESSAGE, NAMESPACE));
  for (let at = 0; at < blob.length; at++) {
    const damaged = Buffer.from(blob);
    damaged.writeUInt8(damaged.readUInt8(at) ^ (1 << (at % 8)), at);
    assert.ok(!accepts(damaged, MESSAGE, NAMESPACE), `byte ${at}`);
  }
});

test('a second signature cannot be made from a good one by adding the group order', () => {
  const parsed = parseSshsig(signSsh(makeSigningKey(), NAMESPACE, MESSAGE));
  assert.ok(parsed);
  const order = 2n ** 252n + 27742317777372353535851937790883648493n;
  const scalar = BigInt(`0x${Buffer.from(parsed.signature.subarray(32).toReversed()).toString('hex')}`);
  const hex = (scalar + order).toString(16).padStart(64, '0');
  const second = Buffer.concat([parsed.signature.subarray(0, 32), Buffer.from(hex, 'hex').toReversed()]);
  assert.ok(isSignatureGood(parsed, MESSAGE));
  assert.ok(!isSignatureGood({ ...parsed, signature: second }, MESSAGE));
});

test('keys and signatures of a wrong length are no good, and no error', () => {
  const parsed = parseSshsig(signSsh(makeSigningKey(), NAMESPACE, MESSAGE));
  assert.ok(parsed);
  for (const length of [0, 31, 33, 63, 65]) {
    assert.ok(!isSignatureGood({ ...parsed, signature: randomBytes(length) }, MESSAGE));
    assert.ok(!isSignatureGood({ ...parsed, publicKey: randomBytes(length) }, MESSAGE));
  }
});
