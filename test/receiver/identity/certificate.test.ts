import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { chmod, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { connect, createServer } from 'node:tls';
import { systemClock } from '../../../common/clock.ts';
import { TransferError, type ErrorCode } from '../../../common/errors.ts';
import { loadOrMakeIdentity, pinOfCertificate } from '../../../receiver/identity/certificate.ts';
import { unlessInstalled } from '../../support/requires.ts';
import { tempDir } from '../../support/temp-dir.ts';

const needsOpenssl = { skip: unlessInstalled('openssl') };

/** @returns what the command printed. */
function shell(command: string, input = ''): string {
  const run = spawnSync('sh', ['-c', command], { input, encoding: 'utf8' });
  assert.equal(run.status, 0, run.stderr);
  return run.stdout;
}

function pinByOpenssl(certificatePem: string): string {
  const pipe =
    'openssl x509 -pubkey -noout | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64';
  return `sha256//${shell(pipe, certificatePem).trim()}`;
}

async function assertRefused(
  promise: Promise<unknown>,
  code: ErrorCode,
  message: RegExp,
  hint: RegExp,
): Promise<void> {
  await assert.rejects(promise, (error) => {
    assert.ok(error instanceof TransferError, String(error));
    assert.equal(error.code, code);
    assert.match(error.message, message);
    assert.match(error.hint ?? '', hint);
    return true;
  });
}

test('the key and certificate are created once, and the pin stays the same after a restart', async () => {
  await using folder = await tempDir();
  const first = await loadOrMakeIdentity(folder.path);
  assert.deepEqual((await readdir(folder.path)).sort(), ['tls-cert.pem', 'tls-key.pem']);
  assert.equal((await stat(join(folder.path, 'tls-key.pem'))).mode & 0o777, 0o600);
  assert.deepEqual(await loadOrMakeIdentity(folder.path), first);
  assert.equal(pinOfCertificate(first.certificatePem), first.pin);
  assert.equal(createPrivateKey(first.keyPem).asymmetricKeyDetails?.namedCurve, 'prime256v1');
});

test(
  'the certificate is valid for a hundred years and has a random serial number',
  needsOpenssl,
  async () => {
    await using folder = await tempDir();
    await using another = await tempDir();
    const { certificatePem } = await loadOrMakeIdentity(folder.path);
    const certificate = new X509Certificate(certificatePem);
    assert.equal(certificate.subject, 'CN=server');
    assert.ok(certificate.verify(certificate.publicKey));
    const years = (certificate.validToDate.getTime() - systemClock.wallMs()) / 31_557_600_000;
    assert.ok(years > 99.9 && years < 100.1);
    assert.ok(certificate.validFromDate.getTime() < systemClock.wallMs());
    const other = new X509Certificate((await loadOrMakeIdentity(another.path)).certificatePem);
    assert.notEqual(certificate.serialNumber, other.serialNumber);
    const path = join(folder.path, 'tls-cert.pem');
    assert.match(shell(`openssl verify -x509_strict -CAfile ${path} ${path}`), /: OK$/m);
    assert.match(
      shell(`openssl x509 -noout -ext extendedKeyUsage -in ${path}`),
      /TLS Web Server Authentication/,
    );
  },
);

test(
  'the pin is the one that openssl computes, for our certificates and for others',
  needsOpenssl,
  async () => {
    await using folder = await tempDir();
    const { certificatePem, pin } = await loadOrMakeIdentity(folder.path);
    assert.equal(pin, pinByOpenssl(certificatePem));
    for (const kind of ['rsa:2048', 'ed25519', 'ec -pkeyopt ec_paramgen_curve:P-384']) {
      const pem = shell(`openssl req -x509 -newkey ${kind} -nodes -keyout /dev/null -subj /CN=x 2>/dev/null`);
      assert.equal(pinOfCertificate(pem), pinByOpenssl(pem), kind);
    }
  },
);

test('a TLS server with this identity presents the key with this pin', async () => {
  await using folder = await tempDir();
  const { certificatePem, keyPem, pin } = await loadOrMakeIdentity(folder.path);
  const server = createServer({ cert: certificatePem, key: keyPem, minVersion: 'TLSv1.3' });
  server.on('secureConnection', (socket) => socket.end());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  const options = { port: address.port, host: '127.0.0.1', ca: certificatePem, servername: 'server' };
  const socket = connect(options);
  await once(socket, 'secureConnect');
  const shown = socket.getPeerX509Certificate();
  assert.ok(shown && socket.authorized);
  assert.equal(pinOfCertificate(shown.toString()), pin);
  socket.destroy();
  server.close();
});

test('receivers that start at the same time in a new folder have one pin', async () => {
  await using folder = await tempDir();
  const starts = Array.from({ length: 6 }, async () => loadOrMakeIdentity(folder.path));
  const pins = new Set((await Promise.all(starts)).map(({ pin }) => pin));
  pins.add((await loadOrMakeIdentity(folder.path)).pin);
  assert.equal(pins.size, 1);
});

test('a lost certificate is made again with the same pin', async () => {
  await using folder = await tempDir();
  const first = await loadOrMakeIdentity(folder.path);
  await rm(join(folder.path, 'tls-cert.pem'));
  const second = await loadOrMakeIdentity(folder.path);
  assert.notEqual(second.certificatePem, first.certificatePem);
  assert.equal(second.pin, first.pin);
  assert.deepEqual(await loadOrMakeIdentity(folder.path), second);
});

test('unusable files of the state folder are refused with a hint and left alone', async () => {
  await using folder = await tempDir();
  await using another = await tempDir();
  const certificatePath = join(folder.path, 'tls-cert.pem');
  const keyPath = join(folder.path, 'tls-key.pem');
  const good = await loadOrMakeIdentity(folder.path);
  const foreign = await loadOrMakeIdentity(another.path);
  const refused = async (
    message: RegExp,
    hint = /^restore both files .*: rm -f .*tls-cert\.pem .*tls-key\.pem$/,
  ) => assertRefused(loadOrMakeIdentity(folder.path), 'state-refused', message, hint);

  await writeFile(keyPath, foreign.keyPem);
  await refused(
    /^cannot use the TLS key .*tls-key\.pem: it does not belong to the certificate .*tls-cert\.pem$/,
  );
  await writeFile(keyPath, 'not a key');
  await refused(/tls-key\.pem: it is not a private key in PEM form$/);
  await writeFile(keyPath, '');
  await refused(/tls-key\.pem: it is not a private key in PEM form$/);
  await rm(keyPath);
  await refused(/tls-key\.pem: it is missing, but its certificate .*tls-cert\.pem exists$/);
  assert.deepEqual(await readdir(folder.path), ['tls-cert.pem']);
  await mkdir(keyPath);
  await refused(/tls-key\.pem: it is a directory$/, /^ls -ld .*tls-key\.pem$/);
  await rm(keyPath, { recursive: true });
  await writeFile(keyPath, good.keyPem, { mode: 0o644 });
  await refused(/tls-key\.pem: others may read it \(mode 644\)$/, /^chmod 600 .*tls-key\.pem$/);
  await chmod(keyPath, 0o600);
  await writeFile(certificatePath, good.certificatePem.slice(0, 200));
  await refused(/tls-cert\.pem: it is not a certificate in PEM form$/);
  await writeFile(certificatePath, good.certificatePem);
  assert.deepEqual(await loadOrMakeIdentity(folder.path), good);
});

test("the operator's own certificate and key are used when they match", needsOpenssl, async () => {
  await using folder = await tempDir();
  const path = (name: string): string => join(folder.path, name);
  const make = (name: string, more = '-nodes'): string =>
    shell(
      `cd ${folder.path} && openssl req -x509 -newkey rsa:2048 -subj /CN=x ${more} ` +
        `-keyout ${name}.key -out ${name}.pem 2>&1`,
    );
  make('one');
  make('two');
  make('locked', '-passout pass:secret');
  await writeFile(
    path('chain.pem'),
    (await readFile(path('one.pem'), 'utf8')) + (await readFile(path('two.pem'), 'utf8')),
  );
  const load = async (certificate: string, key: string) =>
    loadOrMakeIdentity('/nonexistent', { certificatePath: path(certificate), keyPath: path(key) });
  const own = await load('one.pem', 'one.key');
  assert.equal(own.pin, pinByOpenssl(own.certificatePem));
  assert.equal((await load('chain.pem', 'one.key')).pin, own.pin);
  const hint = /^give a certificate and its private key, /;
  await chmod(path('one.pem'), 0o600);
  await assertRefused(
    load('one.pem', 'two.key'),
    'usage',
    /two\.key: it does not belong to the certificate .*one\.pem$/,
    hint,
  );
  await assertRefused(load('locked.pem', 'locked.key'), 'usage', /locked\.key: it has a passphrase$/, hint);
  await assertRefused(
    load('one.key', 'one.key'),
    'usage',
    /one\.key: it is not a certificate in PEM form$/,
    hint,
  );
  await assertRefused(
    load('one.pem', 'one.pem'),
    'usage',
    /one\.pem: it is not a private key in PEM form$/,
    hint,
  );
  await assertRefused(load('no.pem', 'one.key'), 'usage', /no\.pem: no such file or directory$/, hint);
  await assertRefused(load('one.pem', 'no.key'), 'usage', /no\.key: no such file or directory$/, hint);
});

test('a certificate without a key, or a key without a certificate, is a usage error', async () => {
  const hint = /^give both, or neither/;
  const certificateAlone = loadOrMakeIdentity('/nonexistent', { certificatePath: '/x.pem' });
  await assertRefused(certificateAlone, 'usage', /^cannot use --tls-cert alone: --tls-key is missing$/, hint);
  const keyAlone = loadOrMakeIdentity('/nonexistent', { keyPath: '/x.key' });
  await assertRefused(keyAlone, 'usage', /^cannot use --tls-key alone: --tls-cert is missing$/, hint);
});

test('making a certificate leaves the global Reflect as it was', async () => {
  await using folder = await tempDir();
  await loadOrMakeIdentity(folder.path);
  assert.ok(!('getMetadata' in Reflect) && !('getOwnMetadata' in Reflect));
});

test('the library that makes certificates is not loaded when a certificate exists', async () => {
  await using folder = await tempDir();
  await loadOrMakeIdentity(folder.path);
  const script = `
    const { loadOrMakeIdentity } = await import(process.argv[1]);
    const { pin } = await loadOrMakeIdentity(process.argv[2]);
    const { createRequire } = await import('node:module');
    const loaded = Object.keys(createRequire(process.argv[1]).cache).join();
    process.stdout.write([pin.length, loaded.includes('tweetnacl'), loaded.includes('x509')].join());`;
  const module = new URL('../../../receiver/identity/certificate.ts', import.meta.url).href;
  const args = ['--input-type=module', '-e', script, module, folder.path];
  const run = spawnSync(process.execPath, args, { encoding: 'utf8' });
  assert.equal(run.stdout, '52,true,false', run.stderr);
});
