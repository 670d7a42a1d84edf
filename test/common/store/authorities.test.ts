/** Services with https: whose certificates are trusted. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { ObjectStore } from '../../../common/store/object-store.ts';
import { parseStoreName } from '../../../common/store/store-name.ts';
import { coded } from '../../support/coded.ts';
import { makeCertificates } from '../../support/nbd-certificates.ts';
import { unlessInstalled } from '../../support/requires.ts';
import { tempDir } from '../../support/temp-dir.ts';

const skip = unlessInstalled('certtool');

test('a service is trusted as AWS_CA_BUNDLE says, and any other is refused at once', { skip }, async () => {
  await using folder = await tempDir();
  const at = (file: string): string => join(folder.path, 'pki', file);
  await makeCertificates(join(folder.path, 'pki'), 'localhost');
  const [key, cert] = [await readFile(at('server-key.pem')), await readFile(at('server-cert.pem'))];
  const server = createServer({ key, cert }, (request, response) => {
    const isMarker = request.url?.includes('ddt-store.json') === true;
    if (isMarker && request.method === 'GET' && !request.url?.includes('?')) response.writeHead(404).end();
    else response.end('<ListBucketResult></ListBucketResult>');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const open = async (host: string, bundle: Record<string, string>): Promise<void> => {
    const environment = { AWS_ACCESS_KEY_ID: 'A', AWS_SECRET_ACCESS_KEY: 's', HOME: folder.path, ...bundle };
    const endpoint = `https://${host}:${port}`;
    await using _ = await ObjectStore.open(parseStoreName('s3://disks/a'), { endpoint, environment });
  };
  try {
    await open('localhost', { AWS_CA_BUNDLE: at('ca-cert.pem') });
    const distrusted = coded('connection-failed', {
      message: /certificate of .* is not trusted: [A-Z_]+$/,
      hint: /AWS_CA_BUNDLE/,
    });
    const beganMs = performance.now();
    await assert.rejects(open('localhost', {}), distrusted);
    await assert.rejects(open('127.0.0.1', { AWS_CA_BUNDLE: at('ca-cert.pem') }), distrusted);
    assert(performance.now() - beganMs < 3000, 'trying again would change nothing');
    await writeFile(at('text'), 'no certificate');
    await assert.rejects(open('localhost', { AWS_CA_BUNDLE: at('text') }), distrusted);
    const unusable = coded('usage', { message: /cannot use the certificates in/, hint: /PEM/ });
    await assert.rejects(open('localhost', { AWS_CA_BUNDLE: at('missing') }), unusable);
  } finally {
    server.close();
    server.closeAllConnections();
  }
});
