/** Signatures of every kind of key that ssh has, as the real ssh-keygen makes and judges them. */
import assert from 'node:assert/strict';
import { generateKeyPairSync, hash, sign } from 'node:crypto';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseKey, problemOfKey } from '../../../common/trust/ssh-keys.ts';
import { armorSshsig, isSignatureGood, parseSshsig } from '../../../common/trust/ssh-signature.ts';
import { unlessInstalled } from '../../support/requires.ts';
import { runOk } from '../../support/run.ts';
import { isGoodForSshKeygen, makeSshKey, publicLine, signBySshKeygen } from '../../support/ssh-keygen.ts';
import { mpint, numberIn, rsaPublicKey, signedBytes, sshsig, strings } from '../../support/software-keys.ts';
import { tempDir } from '../../support/temp-dir.ts';

const NAMESPACE = 'ddt-test-v1@dd-transfer';
const MESSAGE = Buffer.from('block 812 is where it belongs');
const SIGNED = signedBytes(NAMESPACE, MESSAGE);
const skip = unlessInstalled('ssh-keygen');

const TYPES: readonly (readonly [type: string, ...more: string[]])[] = [
  ['ed25519'],
  ['ecdsa', '-b', '256'],
  ['ecdsa', '-b', '384'],
  ['ecdsa', '-b', '521'],
  ['rsa', '-b', '2048'],
  ['rsa', '-b', '3072'],
];

function isGood(blob: Buffer, message: Buffer = MESSAGE): boolean {
  const parsed = parseSshsig(blob);
  return parsed?.namespace === NAMESPACE && isSignatureGood(parsed, message);
}

function blobOf(line: string): Buffer {
  return Buffer.from(line.split(' ')[1] ?? '', 'base64');
}

function flipped(blob: Buffer, at: number): Buffer {
  const other = Buffer.from(blob);
  other[at] = (other[at] ?? 0) ^ 1;
  return other;
}

for (const [type, ...more] of TYPES) {
  test(`signatures of ${[type, ...more].join(' ')} are good, and no changed byte is`, { skip }, async () => {
    await using folder = await tempDir();
    const keyPath = await makeSshKey(join(folder.path, 'id'), type, ...more);
    assert.equal(problemOfKey(blobOf(await publicLine(keyPath))), undefined);
    for (const name of ['sha256', 'sha512'] as const) {
      const signed = { message: MESSAGE, namespace: NAMESPACE, hash: name };
      const blob = await signBySshKeygen(keyPath, signed);
      assert.equal(parseSshsig(blob)?.hashAlgorithm, name);
      assert.deepEqual(parseSshsig(blob)?.publicKey, blobOf(await publicLine(keyPath)));
      assert.ok(isGood(blob));
      assert.ok(!isGood(blob, Buffer.from('another message')));
      const step = type === 'ed25519' ? 8 : 1;
      for (let at = 0; at < blob.length; at += step) assert.ok(!isGood(flipped(blob, at)), `byte ${at}`);
    }
  });
}

interface SoftwareKey {
  readonly type: string;
  readonly publicKey: Buffer;
  /** The algorithm's own encoding. */
  readonly sign: (bytes: Buffer) => Buffer;
}

function makeSecurityKeys(application: string): SoftwareKey[] {
  const ed = generateKeyPairSync('ed25519');
  const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const [edType, ecType] = ['sk-ssh-ed25519@openssh.com', 'sk-ecdsa-sha2-nistp256@openssh.com'];
  const point = Buffer.concat([Buffer.from([4]), numberIn(ec.publicKey, 'x'), numberIn(ec.publicKey, 'y')]);
  return [
    {
      type: edType,
      publicKey: strings(edType, numberIn(ed.publicKey, 'x'), application),
      sign: (bytes) => sign(null, bytes, ed.privateKey),
    },
    {
      type: ecType,
      publicKey: strings(ecType, 'nistp256', point, application),
      sign: (bytes) => {
        const raw = sign('sha256', bytes, { key: ec.privateKey, dsaEncoding: 'ieee-p1363' });
        return strings(mpint(raw.subarray(0, 32)), mpint(raw.subarray(32)));
      },
    },
  ];
}

/** What a security key does, PROTOCOL.u2f. */
function touched({ type, sign: make }: SoftwareKey, application: string, flags: number): Buffer {
  const presence = Buffer.from([flags, 0, 0, 2, 7]);
  const digests = [application, SIGNED].map((text) => hash('sha256', text, 'buffer'));
  const [forApplication, forMessage] = digests;
  assert.ok(forApplication && forMessage);
  return Buffer.concat([
    strings(type, make(Buffer.concat([forApplication, presence, forMessage]))),
    presence,
  ]);
}

test('signatures of security keys are good, if somebody has touched the key', { skip }, async () => {
  for (const key of makeSecurityKeys('ssh:')) {
    const blob = sshsig(NAMESPACE, key.publicKey, touched(key, 'ssh:', 1));
    const line = `${key.type} ${key.publicKey.toString('base64')}`;
    const signed = { message: MESSAGE, signature: armorSshsig(blob), namespace: NAMESPACE };
    assert.ok(await isGoodForSshKeygen(signed, line), `the test makes what ${key.type} makes`);
    assert.equal(problemOfKey(key.publicKey), undefined);
    assert.ok(isGood(blob) && !isGood(blob, Buffer.from('another message')));
    for (const at of [1, 5]) assert.ok(!isGood(flipped(blob, blob.length - at)), 'flags and counter count');
    assert.ok(!isGood(sshsig(NAMESPACE, key.publicKey, touched(key, 'ssh:', 0))), 'nobody has touched it');
    assert.ok(
      !isGood(sshsig(NAMESPACE, key.publicKey, touched(key, 'ssh:other', 1))),
      'of another application',
    );
    assert.ok(isGood(sshsig(NAMESPACE, key.publicKey, touched(key, 'ssh:', 5))), 'and entered its PIN');
    assert.ok(
      !isGood(sshsig(NAMESPACE, key.publicKey, touched(key, 'ssh:', 1).subarray(0, -1))),
      'cut short',
    );
  }
});

test('RSA with SHA-1 is refused, by whatever name', () => {
  const { publicKey: key, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const publicKey = rsaPublicKey(key);
  const signature = (algorithm: string, name: string): Buffer =>
    sshsig(NAMESPACE, publicKey, strings(algorithm, sign(name, SIGNED, privateKey)));
  assert.ok(isGood(signature('rsa-sha2-256', 'sha256')) && isGood(signature('rsa-sha2-512', 'sha512')));
  assert.equal(parseSshsig(signature('ssh-rsa', 'sha1')), undefined);
  for (const name of ['rsa-sha2-256', 'rsa-sha2-512']) assert.ok(!isGood(signature(name, 'sha1')));
  assert.ok(!isGood(signature('rsa-sha2-512', 'sha256')));
});

test('a number has one spelling in an ECDSA signature, and a point must be on its curve', () => {
  const { publicKey: key, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-384' });
  const type = 'ecdsa-sha2-nistp384';
  const [x, y] = [numberIn(key, 'x'), numberIn(key, 'y')];
  const keyAt = (height: Buffer): Buffer =>
    strings(type, 'nistp384', Buffer.concat([Buffer.from([4]), x, height]));
  const raw = sign('sha384', SIGNED, { key: privateKey, dsaEncoding: 'ieee-p1363' });
  const [r, s] = [mpint(raw.subarray(0, 48)), mpint(raw.subarray(48))];
  const signature = (one: Buffer, other: Buffer): Buffer =>
    sshsig(NAMESPACE, keyAt(y), strings(type, strings(one, other)));
  assert.ok(isGood(signature(r, s)));
  assert.equal(parseSshsig(signature(Buffer.concat([Buffer.alloc(1), r]), s)), undefined);
  assert.equal(parseSshsig(signature(r, Buffer.alloc(0))), undefined);
  assert.equal(parseSshsig(signature(Buffer.alloc(49, 1), s)), undefined);
  assert.equal(problemOfKey(keyAt(y)), undefined);
  assert.equal(problemOfKey(keyAt(flipped(y, 47))), 'its key is damaged');
  assert.equal(isGood(sshsig(NAMESPACE, keyAt(flipped(y, 47)), strings(type, strings(r, s)))), false);
});

test('keys of other types and sizes, and certificates, are named', { skip }, async () => {
  await using folder = await tempDir();
  const [weak, user] = [join(folder.path, 'weak'), join(folder.path, 'user')];
  await makeSshKey(weak, 'rsa', '-b', '1024');
  assert.equal(
    problemOfKey(blobOf(await publicLine(weak))),
    'an RSA key of 1024 bits: 2048 to 4096 are supported',
  );
  await makeSshKey(user, 'ed25519');
  const certify = ['-q', '-s', user, '-I', 'x', '-n', 'x', `${weak}.pub`];
  await runOk('ssh-keygen', certify);
  const certificate = blobOf(await publicLine(`${weak}-cert`));
  assert.equal(problemOfKey(certificate), 'certificates are not supported');
  assert.equal(parseKey(certificate), undefined);
  const long = strings('ssh-rsa', Buffer.from([1, 0, 1]), Buffer.alloc(513, 0x7f));
  assert.equal(problemOfKey(long), 'an RSA key of 4103 bits: 2048 to 4096 are supported');
  assert.equal(problemOfKey(strings('ssh-dss', 'x')), 'keys of type ssh-dss are not supported');
  assert.equal(problemOfKey(strings('toString', 'x', 'y')), 'keys of type toString are not supported');
  assert.equal(problemOfKey(strings('ssh-ed25519', Buffer.alloc(31))), 'its key is damaged');
  assert.equal(problemOfKey(Buffer.alloc(0)), 'keys of type  are not supported');
});
